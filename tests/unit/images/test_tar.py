"""The tar dialect of layers: what is written, and what is refused."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import IntegrityError
from modelyard.images import tar
from modelyard.images.tar import END, Member, TarStream, header, padding

LONG = "/".join(["a" * 60] * 4)


def archive(*members: tuple[Member, bytes]) -> bytes:
    blocks = (header(member) + content + padding(len(content)) for member, content in members)
    return b"".join(blocks) + END


def file(path: str, content: bytes = b"x", executable: bool = False) -> tuple[Member, bytes]:
    return Member(path, len(content), executable=executable), content


def folder(path: str) -> tuple[Member, bytes]:
    return Member(path, folder=True), b""


def read(data: bytes, limit: int | None = None) -> list[tuple[Member, bytes]]:
    stream = TarStream([data], limit)
    return [(member, b"".join(content)) for member, content in stream.members()]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


class TestWriting:
    def test_other_readers_understand_it(self) -> None:
        data = archive(folder("a"), file("a/run", b"one", executable=True), file("b.txt", b"two"))
        with tarfile.open(fileobj=io.BytesIO(data)) as opened:
            found = [(m.name, m.mode, m.mtime, m.uid, m.gid, m.uname, m.gname) for m in opened]
            assert found == [
                ("a", 0o755, 0, 0, 0, "", ""),
                ("a/run", 0o755, 0, 0, 0, "", ""),
                ("b.txt", 0o644, 0, 0, 0, "", ""),
            ]
            content = opened.extractfile("a/run")
            assert content is not None
            assert content.read() == b"one"

    def test_extended_headers_only_where_they_are_needed(self) -> None:
        assert len(header(Member("a" * 100))) == tar.BLOCK
        assert len(header(Member(f"{'a' * 150}/{'b' * 100}"))) == tar.BLOCK
        assert len(header(Member("a" * 101))) == 3 * tar.BLOCK
        assert len(header(Member("é"))) == 3 * tar.BLOCK
        assert len(header(Member("big", 8**11))) == 3 * tar.BLOCK

    @pytest.mark.parametrize("path", ["a" * 101, LONG, "é/ü.py", f"{'a' * 160}/b"])
    def test_other_readers_understand_extended_headers(self, path: str) -> None:
        data = header(Member(path, 1)) + b"x" + padding(1) + END
        with tarfile.open(fileobj=io.BytesIO(data)) as opened:
            assert opened.getnames() == [path]

    def test_other_readers_understand_sizes_beyond_eight_gibibytes(self) -> None:
        with tarfile.open(fileobj=io.BytesIO(header(Member("big", 8**11)) + END)) as opened:
            member = opened.next()
        assert member is not None
        assert member.size == 8**11

    def test_the_bytes_are_those_of_every_release(self) -> None:
        """They are part of every image's identity: a change here changes all digests."""
        stream = TarStream([archive(folder("opt"), file("opt/x.py", b"x = 1\n"), file("é", b""))])
        for _, content in stream.members():
            list(content)
        assert stream.digest == (
            "sha256:45f31a51673e1dc14fb3e711adf5a2fb869e0581a93eafda6208278d48e58fba"
        )


class TestReading:
    @given(
        st.lists(
            st.tuples(
                st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
                st.binary(max_size=1500),
                st.booleans(),
            ),
            max_size=5,
            unique_by=lambda entry: entry[0].casefold(),
        ),
        st.integers(1, 3000),
    )
    def test_reads_what_was_written_in_pieces_of_any_length(
        self, entries: list[tuple[str, bytes, bool]], size: int
    ) -> None:
        members = [file(path, content, executable) for path, content, executable in entries]
        data = archive(*members)
        stream = TarStream(pieces(data, size))
        assert [(member, b"".join(content)) for member, content in stream.members()] == members
        assert stream.size == len(data)

    @pytest.mark.parametrize("path", ["a" * 101, LONG, "é"])
    def test_reads_extended_headers(self, path: str) -> None:
        parents = [folder("/".join(path.split("/")[:n])) for n in range(1, path.count("/") + 1)]
        assert read(archive(*parents, file(path)))[-1] == file(path)

    def test_content_is_not_held(self) -> None:
        """A member far larger than memory is read in the pieces in which it comes."""
        size = 1 << 42
        zeros = bytes(1 << 20)

        def endless() -> Iterator[bytes]:
            yield header(Member("big", size))
            while True:
                yield zeros

        _, content = next(TarStream(endless()).members())
        assert [len(next(content)) for _ in range(3)] == [1 << 20] * 3

    @given(st.binary(max_size=2000))
    def test_any_bytes_are_read_or_refused_in_one_way(self, data: bytes) -> None:
        try:
            read(data)
        except IntegrityError:
            return
        assert data == END

    @given(st.data())
    def test_a_damaged_archive_is_read_or_refused_in_one_way(self, data: st.DataObject) -> None:
        whole = bytearray(archive(folder("a"), file("a/é", b"content")))
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
        with contextlib.suppress(IntegrityError):
            read(bytes(whole))

    @given(st.integers(0, 3 * tar.BLOCK + len(END) - 1))
    def test_a_shortened_archive_is_refused(self, length: int) -> None:
        data = archive(file("a"), file("b", b""))
        with pytest.raises(IntegrityError):
            read(data[: min(length, len(data) - 1)])


class TestRefusing:
    @pytest.mark.parametrize(
        "path",
        ["../x", "a/../b", "/etc/passwd", "a//b", "./a", "a/.", "..", "a\\b", "a\nb", "\x1b[2J"],
    )
    def test_paths_that_lead_elsewhere_or_hide(self, path: str) -> None:
        with pytest.raises(IntegrityError, match="not an acceptable path"):
            read(archive(file(path)))

    def test_two_members_in_one_place(self) -> None:
        for twin in ("a", "A"):
            with pytest.raises(IntegrityError, match="there twice, or differs only in case"):
                read(archive(file("a"), file(twin)))
        with pytest.raises(IntegrityError, match="there twice"):
            read(archive(file("\u00e9"), file("e\u0301")))

    def test_a_file_where_a_folder_is_needed(self) -> None:
        with pytest.raises(IntegrityError, match="comes before its folder"):
            read(archive(file("a"), file("a/b")))

    def test_a_member_without_its_folder(self) -> None:
        with pytest.raises(IntegrityError, match="comes before its folder"):
            read(archive(file("a/b")))

    def test_too_many_members(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tar, "MAX_MEMBERS", 3)
        assert len(read(archive(*(file(str(n)) for n in range(3))))) == 3
        with pytest.raises(IntegrityError, match="more than 3"):
            read(archive(*(file(str(n)) for n in range(4))))

    def test_more_bytes_than_promised(self) -> None:
        data = archive(file("a", bytes(5000)))
        assert read(data, limit=len(data))
        with pytest.raises(IntegrityError, match="longer than the promised"):
            read(data, limit=len(data) - 1)

    def test_bytes_behind_the_end(self) -> None:
        with pytest.raises(IntegrityError, match="behind the end"):
            read(archive(file("a")) + bytes(512))

    def test_hidden_bytes_in_the_padding(self) -> None:
        data = archive(file("a")).replace(b"x" + padding(1), b"x" + b"y" + padding(1)[1:])
        with pytest.raises(IntegrityError, match="padding"):
            read(data)
