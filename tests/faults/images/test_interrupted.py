"""Unpacking that is killed in the middle, or done by several processes at once."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from modelyard.images.layers import LayerCache, file_from_bytes, files_below, tar_chunks

FILES = [file_from_bytes(f"opt/f{number:03}", bytes([number]) * 40_000) for number in range(200)]
DATA = b"".join(tar_chunks(FILES))
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"

HALF_WAY = """
import sys, time
from pathlib import Path
from modelyard.images.layers import LayerCache

def chunks():
    data = sys.stdin.buffer.read()
    yield data[: len(data) // 2]
    print("half", flush=True)
    time.sleep(600)

LayerCache(Path(sys.argv[1])).unpack(sys.argv[2], chunks())
"""

WHOLE = """
import sys
from pathlib import Path
from modelyard.images.layers import LayerCache
data = sys.stdin.buffer.read()
print(LayerCache(Path(sys.argv[1])).unpack(sys.argv[2], [data]))
"""


def run(program: str, root: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(root), DIGEST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(DATA)
    process.stdin.close()
    process.stdin = None  # else `communicate` would flush it again
    return process


def is_whole(folder: Path) -> bool:
    found = files_below(folder / "opt", "opt")
    return {file.path: b"".join(file.read()) for file in found} == {
        file.path: b"".join(file.read()) for file in FILES
    }


def staged(root: Path) -> list[Path]:
    return list((root / ".staging").iterdir())


def test_what_a_killed_unpacking_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with run(HALF_WAY, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        assert len(staged(tmp_path)) == 1
        process.send_signal(signal.SIGKILL)
    cache = LayerCache(tmp_path)
    assert cache.path(DIGEST) is None
    assert len(staged(tmp_path)) == 1
    assert is_whole(cache.unpack(DIGEST, [DATA]))
    assert staged(tmp_path) == []


def test_an_unpacking_that_still_runs_is_let_be(tmp_path: Path) -> None:
    with run(HALF_WAY, tmp_path) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"half\n"
            cache = LayerCache(tmp_path)
            assert is_whole(cache.unpack(DIGEST, [DATA]))
            (other,) = staged(tmp_path)
            assert any((other / "opt").iterdir())
        finally:
            process.kill()


def test_several_processes_at_once(tmp_path: Path) -> None:
    processes = [run(WHOLE, tmp_path) for _ in range(4)]
    answers = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert answers == {f"{tmp_path / DIGEST.removeprefix('sha256:')}\n".encode()}
    assert is_whole(tmp_path / DIGEST.removeprefix("sha256:"))
    assert staged(tmp_path) == []


def test_several_threads_at_once(tmp_path: Path) -> None:
    together = Barrier(8)

    def slowly() -> Iterator[bytes]:
        together.wait()
        for start in range(0, len(DATA), 1 << 20):
            yield DATA[start : start + (1 << 20)]

    with ThreadPoolExecutor(8) as threads:
        cache = LayerCache(tmp_path)
        folders = set(threads.map(lambda _: cache.unpack(DIGEST, slowly()), range(8)))
    assert len(folders) == 1
    assert is_whole(folders.pop())
    assert staged(tmp_path) == []
