"""What a raw script reads from a request. `test_original` holds the rest against Flask."""

from __future__ import annotations

import pytest

from modelyard_runtime.compat.forms import MOST_PARTS, MalformedForm, read_multipart
from modelyard_runtime.compat.request import AMLRequest, rawhttp
from modelyard_runtime.http.server import Headers, HttpError, Request


def request(body: bytes = b"", query: str = "", **headers: str) -> AMLRequest:
    pairs = [(name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()]
    return AMLRequest(Request("POST", "/score", query, Headers(pairs), body))


class TestHeaders:
    def test_are_found_in_any_case(self) -> None:
        headers = request(x_a="1").headers
        assert headers["X-A"] == headers.get("x-a") == "1"
        assert "X-a" in headers
        assert headers.get("x-b", "none") == "none"

    def test_repeated_ones_are_joined(self) -> None:
        pairs = [(b"x-a", b"1"), (b"x-a", b"2")]
        headers = AMLRequest(Request("GET", "/", "", Headers(pairs), b"")).headers
        assert dict(headers) == {"X-A": "1,2"}

    def test_a_missing_one_is_a_key_error(self) -> None:
        with pytest.raises(KeyError):
            request().headers["x-a"]


class TestArgs:
    def test_types_are_converted_or_the_default(self) -> None:
        args = request(query="n=5&m=x&n=0").args
        assert args.get("n", type=int) == 5
        assert args.get("m", 7, type=int) == 7
        assert args.getlist("n", type=int) == [5, 0]
        assert args.getlist("m", type=int) == []

    def test_more_than_a_thousand_fields_are_refused(self) -> None:
        with pytest.raises(ValueError, match="fields"):
            request(query="a=1&" * 1001).args  # noqa: B018


class TestJson:
    def test_a_charset_changes_nothing(self) -> None:
        assert request(b"[1]", content_type="application/json; charset=utf-8").json == [1]

    def test_other_content_types_are_an_error(self) -> None:
        with pytest.raises(ValueError, match="content type"):
            request(b"[1]", content_type="text/plain").get_json()
        assert request(b"[1]").get_json(silent=True) is None


def part(head: bytes, content: bytes = b"x") -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


NAMED = b'content-disposition: form-data; name="f"'


class TestMultipart:
    def test_content_may_look_like_a_boundary(self) -> None:
        body = part(NAMED, b"x--b--\r\n-b--") + b"--b--"
        assert read_multipart(body, "b") == ([("f", "x--b--\r\n-b--")], [])

    def test_a_file_can_be_read_and_saved(self, tmp_path: object) -> None:
        head = NAMED + b'; filename="../a.csv"\r\ncontent-type: Text/CSV; header=present'
        file = request(
            part(head, b"1,2") + b"--b--", content_type='multipart/form-data; boundary="b"'
        ).files["f"]
        assert (file.filename, file.mimetype, file.read(1), file.read()) == (
            "../a.csv",
            "text/csv",
            b"1",
            b",2",
        )
        file.seek(0)
        file.save(f"{tmp_path}/saved")
        with open(f"{tmp_path}/saved", "rb") as saved:
            assert saved.read() == b"1,2"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"--b",
            b"--b\r\n",
            part(NAMED),
            part(b"x-a: 1") + b"--b--",
            b"--b\r\n" + NAMED + b"\r\nno end" + b"\r\n--b--",
            part(NAMED + b"\r\nx-a: " + b"a" * 10_000) + b"--b--",
            part(NAMED + b"\r\na b: 1") + b"--b--",
            part(NAMED + b"\r\nx-a: \0") + b"--b--",
            part(NAMED + b"; " + b";" * 30) + b"--b--",
            part(NAMED) * (MOST_PARTS + 1) + b"--b--",
        ],
    )
    def test_what_is_malformed_or_too_much_is_refused(self, body: bytes) -> None:
        with pytest.raises(MalformedForm):
            read_multipart(body, "b")

    def test_what_is_malformed_is_the_clients_fault(self) -> None:
        with pytest.raises(HttpError) as refused:
            read_multipart(b"--b\r\n", "b")
        assert refused.value.status == 400

    @pytest.mark.parametrize("boundary", ["", "b" * 201])
    def test_a_boundary_has_a_length(self, boundary: str) -> None:
        with pytest.raises(MalformedForm, match="boundary"):
            read_multipart(part(NAMED) + b"--b--", boundary)


def test_rawhttp_marks_the_function_and_leaves_it() -> None:
    def run(request: AMLRequest) -> None: ...

    assert rawhttp(run) is run
