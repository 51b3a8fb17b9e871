"""What a worker records: the answers to requests that the gateway wants recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.runtime.lanes import Raw
from tests.unit.runtime.recorded import counts, records

from modelyard_runtime.capture.rules import Rules
from modelyard_runtime.capture.spool import DROP_NEW, REFUSE, Bounds
from modelyard_runtime.capture.wanted import FIELD, PREDICTION, SEEN_TO, Wanted, parse
from modelyard_runtime.causes import Scene
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.messages import Headers, Request, Response
from modelyard_runtime.lanes.recording import Recorder
from modelyard_runtime.scoring import Call, Scorer, asking

ROOMY = Wanted("k", Bounds(1 << 20, DROP_NEW))
RULED = ROOMY._replace(rules=Rules(["name"], ["id"], b"key"))


def call(body: bytes, *headers: tuple[bytes, bytes]) -> Call:
    entry = Entry(lambda data: data, cast(Any, None), Scene("", "", ""))
    request = Request("POST", "/score", "", Headers([*headers]), body)
    return Call(Scorer(entry, lambda cause: None), request, asking(request.head, Raw()))


def ask(number: int, wanted: Wanted = ROOMY) -> Call:
    headers = [(b"content-type", b"application/json"), (b"x-request-id", b"r%d" % number)]
    return call(b"[%d]" % number, *headers, (FIELD, wanted.encode()))


def answer() -> Response:
    return Response(200, b"[3]", [(b"content-type", b"text/plain")])


class TestWanted:
    @pytest.mark.parametrize(
        "wanted", [ROOMY, RULED._replace(attempt=3), Wanted("", Bounds(1, REFUSE, durable=True))]
    )
    def test_comes_back_as_it_was(self, wanted: Wanted) -> None:
        assert parse(wanted.encode()) == wanted

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"k",
            b"k;1",
            b"k;many;refuse",
            b"k;-1;refuse",
            b"k;rules=?;1;refuse",
            b"k;rules=e30=;1;refuse",
        ],
    )
    def test_what_is_none_is_none(self, value: bytes) -> None:
        assert parse(value) is None

    def test_what_a_worker_cannot_do_is_the_gateways(self, tmp_path: Path) -> None:
        wanted = RULED._replace(is_collected_only=True)
        assert parse(wanted.encode()) == wanted
        recorder, response = Recorder(tmp_path, "worker-0"), answer()
        recorder.record(ask(1, wanted), response, 0.5)
        recorder.close()
        assert records(tmp_path) == []
        assert SEEN_TO not in response.headers

    def test_a_runtime_older_than_rules_takes_it_for_none(self) -> None:
        assert not RULED.encode().split(b";")[1].isdigit()


class TestRecorder:
    def test_records_what_is_wanted_and_says_so(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path, "worker-0")
        response = answer()
        recorder.record(ask(1), response, 0.5)
        recorder.close()
        (record,) = records(tmp_path)
        assert SEEN_TO in response.headers
        assert (record.prediction, record.request, record.key) == ("r1", "r1", "k")
        assert (record.status, record.seconds, record.path) == (200, 0.5, "/score")
        assert (record.input, record.input_type) == (b"[1]", "application/json")
        assert (record.output, record.output_type) == (b"[3]", "text/plain")

    def test_rules_are_applied_before_anything_is_written(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path, "worker-0")
        headers = [(b"x-request-id", b"r"), (FIELD, RULED.encode())]
        for body in (b'{"id": "secret", "name": "secret", "age": 3}', b"secret"):
            recorder.record(call(body, *headers), answer(), 0.5)
        recorder.close()
        read, unread = records(tmp_path)
        assert b"secret" not in b"".join(p.read_bytes() for p in tmp_path.glob("*.segment"))
        assert read.input is not None
        assert set(json.loads(read.input)) == {"id", "age"}
        assert (read.withheld, read.output) == ("", b"[3]")
        assert (unread.withheld, unread.input, unread.input_size) == ("inputs", None, 6)
        assert counts(tmp_path, "worker-0").captured == 2

    def test_an_id_of_the_answers_own_is_taken(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path, "worker-0")
        headers = [(b"x-request-id", b"mine"), (PREDICTION, b"p"), (FIELD, ROOMY.encode())]
        recorder.record(call(b"[1]", *headers), answer(), 0.5)
        recorder.close()
        (record,) = records(tmp_path)
        assert (record.prediction, record.request) == ("p", "mine")

    def test_what_is_not_wanted_costs_no_file(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path / "none", "worker-0")
        response = answer()
        recorder.record(call(b"[1]"), response, 0.5)
        recorder.record(call(b"[1]", (FIELD, b"nonsense")), response, 0.5)
        recorder.tick()
        recorder.close()
        assert SEEN_TO not in response.headers

    def test_several_are_recorded_at_once_each_as_it_is_wanted(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path, "worker-0")
        calls = [ask(1), call(b"[2]"), ask(3)]
        responses = [Response(200, b"[0]", [], None, b"x-a: 1\r\n") for _ in calls]
        recorder.record_all(calls, responses, [0.1, 0.2, 0.3])
        recorder.close()
        assert [record.prediction for record in records(tmp_path)] == ["r1", "r3"]
        told = [b"x-modelyard-capture: 1\r\n" in response.encoded for response in responses]
        assert told == [True, False, True]
        assert counts(tmp_path, "worker-0")[1:] == (0, 2, 0, 0)

    @pytest.mark.parametrize(("policy", "status"), [(DROP_NEW, 200), (REFUSE, 503)])
    def test_without_room_it_drops_or_refuses(
        self, tmp_path: Path, policy: str, status: int
    ) -> None:
        recorder = Recorder(tmp_path, "worker-0")
        little = Wanted("k", Bounds(200, policy))
        responses = [answer() for _ in range(5)]
        for number, response in enumerate(responses):
            recorder.record(ask(number, little), response, 0.5)
        recorder.close()
        kept = len(records(tmp_path))
        assert 0 < kept < 5
        assert [response.status for response in responses] == [200] * kept + [status] * (5 - kept)
        assert all(SEEN_TO in response.headers for response in responses)
        assert counts(tmp_path, "worker-0")[1:] == (0, kept, 0, 5 - kept)

    def test_where_nothing_can_be_written_the_gateway_is_left_to_it(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("")
        recorder = Recorder(tmp_path / "file", "worker-0")
        responses = [answer(), answer()]
        for response in responses:
            recorder.record(ask(1), response, 0.5)
        assert SEEN_TO not in responses[0].headers
        assert capsys.readouterr().err.count("cannot be recorded here") == 1

    def test_a_long_body_leaves_its_length(self, tmp_path: Path) -> None:
        recorder = Recorder(tmp_path, "worker-0")
        long = call(b"x" * ((1 << 20) + 1), (FIELD, ROOMY.encode()), (PREDICTION, b"p"))
        recorder.record(long, answer(), 0.5)
        recorder.close()
        (record,) = records(tmp_path)
        assert (record.input, record.input_size) == (None, (1 << 20) + 1)
