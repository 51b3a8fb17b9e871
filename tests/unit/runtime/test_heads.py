"""Targets of requests. The rest of what is checked in a head is tested with the reader."""

from __future__ import annotations

import pytest

from modelyard_runtime.http.heads import split_target
from modelyard_runtime.http.messages import Refused


class TestTarget:
    @pytest.mark.parametrize(
        ("target", "path", "query"),
        [
            (b"/", "/", ""),
            (b"/score", "/score", ""),
            (b"/score?", "/score", ""),
            (b"/a%20b?x=%41&y=?", "/a b", "x=%41&y=?"),
            (b"/%C3%A9", "/é", ""),
            (b"//a//b", "//a//b", ""),
            (b"/a..b/.c", "/a..b/.c", ""),
        ],
    )
    def test_is_decoded_once(self, target: bytes, path: str, query: str) -> None:
        assert split_target(target) == (path, query)

    @pytest.mark.parametrize(
        "target",
        [
            b"",
            b"*",
            b"score",
            b"http://elsewhere/score",
            b"elsewhere:443",
            b"/a%",
            b"/a%4",
            b"/a%zz",
            b"/a?b=%zz",
            b"/a#b",
            b"/a?b#c",
            b"/a b",
            b"/\xc3\xa9",
            b"/%ff",
            b"/%c0%ae",
            b"/%00",
            b"/%0d%0aset-cookie:x",
            b"/%1b",
            b"/%7f",
            b"/%c2%85",
            b"/a\\b",
            b"/%5c",
            b"/%2561",
            b"/%252e%252e/",
            b"/../etc",
            b"/a/..",
            b"/a/./b",
            b"/%2e%2e/etc",
            b"/a/%2E/b",
        ],
    )
    def test_refuses_what_is_not_a_plain_path(self, target: bytes) -> None:
        with pytest.raises(Refused) as refused:
            split_target(target)
        assert refused.value.status == 400
