"""What every place of captured records must do: a folder, and a real S3 server behind one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import obstore
import pytest
from tests.contracts.captured.copies import forget_copies

from modelyard.capture.files import CapturedFiles
from modelyard.capture.remote import RemoteFiles, store_at
from modelyard.domain.captured import Segment
from modelyard.domain.values import digest_of
from modelyard.errors import IntegrityError, InvalidRequest, Unavailable

DAY = date(2026, 1, 2)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = timedelta(hours=2)


@pytest.fixture(params=["folder", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> CapturedFiles:
    if request.param == "folder":
        return CapturedFiles(tmp_path / "captured")
    found: RemoteFiles = request.getfixturevalue("remote")
    return found


def segment(name: str, content: bytes = b"", **changes: Any) -> Segment:
    content = content or name.encode()
    fields: dict[str, Any] = {
        "name": name,
        "service": UUID(int=1),
        "service_name": "digits",
        "model": "m",
        "version": 1,
        "image": "digits:1",
        "date": DAY,
        "rows": 1,
        "requests": 1,
        "first": NOON,
        "last": NOON,
        "size": len(content),
        "digest": digest_of(content),
    }
    return Segment(**{**fields, **changes})


def place(files: CapturedFiles, one: Segment, content: bytes = b"") -> None:
    with files.receive() as arrival:
        arrival.write(content or one.name.encode())
        files.place(one, arrival)


def rewrite(files: CapturedFiles, old: Segment, content: bytes) -> Segment:
    files.rewriting.mkdir(parents=True, exist_ok=True)
    (files.rewriting / f"{old.name}.parquet").write_bytes(content)
    new = segment(old.name, content)
    assert files.rewritten() == {new.name: new.digest}
    files.stage(new)
    return new


def keys(remote: RemoteFiles) -> list[str]:
    return sorted(meta["path"] for page in obstore.list(remote._store) for meta in page)


def test_what_was_placed_is_read_as_it_came(files: CapturedFiles, tmp_path: Path) -> None:
    ones = [segment(f"s{number}") for number in range(3)]
    for one in ones:
        place(files, one)
    place(files, ones[0])  # again does no harm
    forget_copies(files, tmp_path)
    paths = files.paths(ones)
    assert [path.read_bytes() for path in paths] == [b"s0", b"s1", b"s2"]
    assert [path.stem for path in paths] == ["s0", "s1", "s2"]
    assert files.path(ones[1]) == paths[1]
    folders = paths[0].parts[-5:-1]
    assert folders == ("service=digits", "model=m", "version=1", "date=2026-01-02")


def test_what_is_not_what_it_says_is_refused(files: CapturedFiles) -> None:
    with pytest.raises(IntegrityError, match="arrived as"):
        place(files, segment("a"), b"something else")
    assert not files.path(segment("a")).exists()


def test_a_new_file_takes_the_place_of_the_old_one(files: CapturedFiles, tmp_path: Path) -> None:
    old = segment("a")
    place(files, old)
    new = rewrite(files, old, b"less")
    assert files.path(old).read_bytes() == b"a"
    files.replace(new)
    files.retire(old)
    files.clear_rewritten()
    forget_copies(files, tmp_path)
    assert files.path(new).read_bytes() == b"less"


def test_what_was_deleted_is_gone(files: CapturedFiles, tmp_path: Path) -> None:
    place(files, segment("a"))
    files.delete(segment("a"))
    files.delete(segment("a"))
    assert not files.path(segment("a")).exists()
    assert list((tmp_path / "captured").rglob("*.parquet")) == []


def test_files_go_by_name(files: CapturedFiles, tmp_path: Path) -> None:
    for name in "abc":
        place(files, segment(name))
    forget_copies(files, tmp_path)
    assert files.names() == {"a", "b", "c"}
    files.remove({"a", "c", "d"})
    assert files.names() == {"b"}


def test_what_nobody_knows_of_goes_after_a_while(files: CapturedFiles, tmp_path: Path) -> None:
    known, stray = segment("known"), segment("stray")
    for one in (known, stray):
        place(files, one)
    live = {known.name: known.digest}
    files.sweep(lambda: live, datetime.now(UTC) - LATER)
    assert files.path(stray).exists()
    assert files.sweep(lambda: live, datetime.now(UTC) + LATER) >= 1
    forget_copies(files, tmp_path)
    assert files.path(known).read_bytes() == b"known"
    assert not files.path(stray).exists()


class TestStore:
    """What only a store can do wrong."""

    def test_names_can_be_read_by_others(self, remote: RemoteFiles) -> None:
        one = segment("a")
        place(remote, one)
        digits = one.digest.removeprefix("sha256:")[:16]
        (key,) = keys(remote)
        assert key == f"service=digits/model=m/version=1/date=2026-01-02/a.{digits}.parquet"

    def test_what_lies_there_under_the_name_and_is_not_ours_is_replaced(
        self, remote: RemoteFiles, tmp_path: Path
    ) -> None:
        place(remote, segment("a"))
        (key,) = keys(remote)
        obstore.put(remote._store, key, b"b")
        forget_copies(remote, tmp_path)
        with pytest.raises(IntegrityError, match="not in the store as it was put"):
            remote.path(segment("a"))
        place(remote, segment("a"))
        forget_copies(remote, tmp_path)
        assert remote.path(segment("a")).read_bytes() == b"a"

    def test_what_was_replaced_goes_with_the_next_sweep(self, remote: RemoteFiles) -> None:
        old = segment("a")
        place(remote, old)
        new = rewrite(remote, old, b"less")
        before = datetime.now(UTC) - LATER
        assert remote.sweep(lambda: {"a": old.digest}, before) == 1  # it was not agreed on
        remote.stage(new)
        remote.replace(new)
        assert remote.sweep(lambda: {"a": new.digest}, before) == 1
        assert len(keys(remote)) == 1

    def test_what_was_there_before_the_store_is_put_into_it(
        self, remote: RemoteFiles, tmp_path: Path
    ) -> None:
        one = segment("a")
        place(CapturedFiles(tmp_path / "captured"), one)
        remote.sweep(lambda: {"a": one.digest}, datetime.now(UTC) - LATER)
        forget_copies(remote, tmp_path)
        assert remote.path(one).read_bytes() == b"a"

    def test_old_copies_go_beyond_the_bound(self, url: str, tmp_path: Path) -> None:
        remote = RemoteFiles(store_at(url), url, tmp_path / "captured", 1)
        ones = [segment("a"), segment("b")]
        for one in ones:
            place(remote, one)
        live = {one.name: one.digest for one in ones}
        remote.sweep(lambda: live, datetime.now(UTC) - LATER)
        assert len(list((tmp_path / "captured").rglob("*.parquet"))) == 2  # just read
        remote.sweep(lambda: live, datetime.now(UTC) + LATER)
        assert len(list((tmp_path / "captured").rglob("*.parquet"))) == 1
        assert [path.read_bytes() for path in remote.paths(ones)] == [b"a", b"b"]

    @pytest.mark.usefixtures("server")
    def test_wrong_credentials_are_told_without_them(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
        remote = RemoteFiles(store_at(url), url, tmp_path / "captured", 1)
        with pytest.raises(Unavailable, match="cannot take a file now") as caught:
            place(remote, segment("a"))
        assert "wrong-secret" not in str(caught.value)
        with pytest.raises(Unavailable, match="cannot give a file now"):
            remote.path(segment("a"))  # at once: nobody waits for it

    @pytest.mark.parametrize(
        "url", ["ftp://x/y", "s3://", "s3://key:secret@bucket", "/tmp/x", "s3://b?x=y"]
    )
    def test_other_addresses_are_refused(self, url: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            store_at(url)
        assert "secret" not in str(caught.value)
