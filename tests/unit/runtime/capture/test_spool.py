from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.unit.runtime.recorded import answered, counts, in_another_process, predictions

from modelyard_runtime.capture import segments, spool
from modelyard_runtime.capture.records import About, Collected, decode, encode
from modelyard_runtime.capture.segments import Segment, frame, open_closed
from modelyard_runtime.capture.spool import Bounds, Spool
from modelyard_runtime.capture.tallies import Counts, Tally, read_tally


class TestSegments:
    def test_is_read_up_to_the_first_damage(self, tmp_path: Path) -> None:
        segment = Segment(tmp_path, "a")
        for text in (b"one", b"two", b"three"):
            segment.append(frame(text))
        segment.close()
        whole = segment.path.read_bytes()
        assert in_another_process(segment.path) == [b"one", b"two", b"three"]
        for cut in range(len(whole)):
            segment.path.write_bytes(whole[:cut])
            read = in_another_process(segment.path)
            assert read == [b"one", b"two", b"three"][: len(read)]
        flipped = bytearray(whole)
        flipped[len(frame(b"one")) + 9] ^= 1
        segment.path.write_bytes(flipped)
        assert in_another_process(segment.path) == [b"one"]

    def test_is_nobodys_while_it_is_written_or_is_no_file_of_its_own(self, tmp_path: Path) -> None:
        segment = Segment(tmp_path, "a")
        segment.append(frame(b"one"))
        assert in_another_process(segment.path) == []
        segment.close()
        assert in_another_process(segment.path) == [b"one"]
        (tmp_path / "link.segment").symlink_to(segment.path)
        assert open_closed(tmp_path / "link.segment") is None
        os.link(segment.path, tmp_path / "twin.segment")
        assert open_closed(tmp_path / "twin.segment") is None
        os.mkfifo(tmp_path / "pipe.segment")
        assert open_closed(tmp_path / "pipe.segment") is None
        assert open_closed(tmp_path / "gone.segment") is None

    def test_a_length_that_cannot_be_is_damage(self, tmp_path: Path) -> None:
        path = tmp_path / "a.segment"
        path.write_bytes(b"\xff\xff\xff\x7f\0\0\0\0" + b"x" * 100)
        assert in_another_process(path) == []
        assert segments.LARGEST_RECORD < 0x7FFFFFFF


class TestRecords:
    def test_come_back_as_they_were(self) -> None:
        for record in (
            About(1, "w"),
            answered("p"),
            Collected(at=1, prediction="p", name="inputs", rows=b"[]"),
        ):
            assert decode(encode(record)) == record

    @pytest.mark.parametrize(
        "payload",
        [b"", b"\x90", b"\xc1", b"\x93\x09\x01\x02", encode(Collected(-1, "p", "inputs", b"{}"))],
    )
    def test_what_is_none_is_said_so(self, payload: bytes) -> None:
        with pytest.raises(ValueError, match=r".+"):
            decode(payload)


class TestSpool:
    def test_what_was_added_is_on_disk_and_counted(self, tmp_path: Path) -> None:
        kept = Spool(tmp_path, "w")
        assert kept.add(answered("a"))
        assert kept.add_encoded(frame(encode(answered("b"))) + frame(encode(answered("c"))), 2)
        assert counts(tmp_path)[1:] == (0, 3, 0, 0)
        kept.close()
        assert predictions(tmp_path) == ["a", "b", "c"]

    def test_closes_what_is_idle_old_or_long(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        kept = Spool(tmp_path, "w")
        kept.add(answered("a"))
        kept.tick()
        assert predictions(tmp_path) == []
        now[0] += spool.IDLE
        kept.tick()
        assert predictions(tmp_path) == ["a"]
        kept.add(answered("b"))
        for _ in range(int(spool.OLDEST * 2)):
            now[0] += 0.5
            kept.tick()
            kept.add(answered("b"))
        assert "b" in predictions(tmp_path)
        monkeypatch.setattr(spool, "LARGEST_SEGMENT", 1)
        kept.add(answered("c"))
        assert predictions(tmp_path)[-1] == "c"

    def test_drops_what_is_new_when_full_and_counts_it(self, tmp_path: Path) -> None:
        kept = Spool(tmp_path, "w", Bounds(space=1000))
        added = [kept.add(answered(str(n), 300)) for n in range(6)]
        kept.close()
        assert added == [True] * 3 + [False] * 3
        assert predictions(tmp_path) == ["0", "1", "2"]
        assert counts(tmp_path)[1:] == (0, 3, 0, 3)
        assert not kept.has_room()

    def test_drops_what_is_old_when_full_and_counts_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spool, "LARGEST_SEGMENT", 500)
        kept = Spool(tmp_path, "w", Bounds(1600, spool.DROP_OLD))
        assert all(kept.add(answered(str(n), 300)) for n in range(12))
        kept.close()
        left = predictions(tmp_path)
        assert left == [str(n) for n in range(12 - len(left), 12)]
        assert 0 < len(left) < 12
        assert counts(tmp_path)[1:] == (0, len(left), 0, 12 - len(left))

    def test_leaves_what_another_writer_of_the_same_process_writes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spool, "LARGEST_SEGMENT", 500)
        script, worker = (Spool(tmp_path, name, Bounds(1600, spool.DROP_OLD)) for name in "sw")
        assert script.add(answered("open"))
        assert all(worker.add(answered(str(n), 300)) for n in range(12))
        assert script.add(answered("open, too"))
        script.close()
        worker.close()
        assert {"open", "open, too"} < set(predictions(tmp_path))

    def test_drops_also_what_is_no_record(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "0.segment").write_bytes(frame(encode(answered("old"))) + frame(b"x" * 2000))
        monkeypatch.setattr(spool, "LARGEST_SEGMENT", 1)
        assert Spool(tmp_path, "w", Bounds(1600, spool.DROP_OLD)).add(answered("new"))
        assert predictions(tmp_path) == ["new"]
        assert counts(tmp_path)[1:] == (0, 0, 0, 1)

    def test_takes_nothing_that_would_be_taken_for_damage(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spool, "LARGEST_RECORD", 100)
        kept = Spool(tmp_path, "w")
        assert not kept.add_collected(Collected(at=1, prediction="p", name="n", rows=b" " * 100))
        assert kept.add_collected(Collected(at=1, prediction="p", name="n", rows=b"[]"))

    def test_a_durable_record_is_on_the_disk_when_it_counts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[int] = []
        real = os.fdatasync

        def noting(fd: int) -> None:
            real(fd)
            synced.append(counts(tmp_path).captured)

        monkeypatch.setattr(os, "fdatasync", noting)
        kept = Spool(tmp_path, "w", Bounds(durable=True))
        assert kept.add(answered("a"))
        assert kept.add(answered("b"))
        assert synced == [0, 1]  # each before it is counted
        kept.bounds = Bounds()
        kept.add(answered("c"))
        assert len(synced) == 2

    def test_a_record_that_cannot_be_synced_is_dropped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = Spool(tmp_path, "w", Bounds(durable=True))
        kept.add(answered("a"))

        def fails(fd: int) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fdatasync", fails)
        assert not kept.add(answered("b"))
        assert predictions(tmp_path) == ["a"]
        assert counts(tmp_path)[1:] == (0, 1, 0, 1)

    def test_a_disk_that_takes_nothing_costs_counted_records_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        kept = Spool(tmp_path, "w")
        kept.add(answered("a"))
        real = os.write

        def half(fd: int, data: bytes) -> int:
            return real(fd, data[: len(data) // 2])

        monkeypatch.setattr(os, "write", half)
        assert not kept.add(answered("b"))
        monkeypatch.setattr(os, "write", real)
        assert not kept.add(answered("c"))  # it is not asked again at once
        now[0] += 1
        assert kept.add(answered("d"))
        kept.close()
        assert predictions(tmp_path) == ["a", "d"]
        assert counts(tmp_path)[1:] == (0, 2, 0, 2)


class TestTally:
    def test_goes_on_after_its_process(self, tmp_path: Path) -> None:
        path = tmp_path / "w.tally"
        Tally(path).add(answered=1, captured=2)
        first = read_tally(path)
        Tally(path).add(captured=-1, sampled_out=3, dropped=4)
        second = read_tally(path)
        assert first is not None
        assert second == Counts(first.id, 1, 1, 3, 4)
        path.unlink()
        Tally(path)
        third = read_tally(path)
        assert third is not None
        assert third.id != first.id

    def test_what_is_none_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "w.tally"
        assert read_tally(path) is None
        path.write_bytes(b"x" * 4096)
        assert read_tally(path) is None
        Tally(path).add(answered=1)
        (tmp_path / "link.tally").symlink_to(path)
        assert read_tally(tmp_path / "link.tally") is None
