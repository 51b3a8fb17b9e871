"""Captured records at the server: what is kept, and what goes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.captured import KEY, PRIVATE, send
from tests.factories import AGENT, WORKSPACE, add_service
from tests.segments import NOON, answered, seal, write

from modelyard.capture.encrypting import Encryption, public_key
from modelyard.capture.files import Arrival, CapturedFiles
from modelyard.capture.jobs import Question
from modelyard.client.connection import REWRITTEN, WORKED_OUT
from modelyard.control import captures as captures_module
from modelyard.control import rewriting as rewriting_module
from modelyard.control.captures import MOST_QUESTIONS, Captures
from modelyard.control.quality import Qualities
from modelyard.control.rewriting import Rewriting
from modelyard.domain.captured import Segment, Tally
from modelyard.domain.principal import Principal
from modelyard.domain.quality import AskQuality
from modelyard.domain.service import ServiceSettings
from modelyard.domain.values import digest_of
from modelyard.errors import (
    Conflict,
    IntegrityError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from modelyard.schemas import AskCaptured, CaptureReport, ForgetCaptured
from modelyard.store import Database
from modelyard.store.captured import Captured
from modelyard_runtime.capture.records import Collected, Told
from modelyard_runtime.capture.rules import hash_value


def segments(folder: Path) -> list[Segment]:
    """Three files of two records each, a day apart."""
    folder.mkdir()
    for day in range(3):
        at = int((NOON + timedelta(days=day)).timestamp() * 1e6)
        names = (f"{day}a", f"{day}b")
        records = [answered(name, at=at) for name in names]
        seal(folder, write(folder / "spool", f"0000{day}-worker-0", *records))
    return seal(folder)


def test_files_come_in_once_and_go_by_age_and_size(
    captures: Captures, rewriting: Rewriting, agent: Principal, tmp_path: Path
) -> None:
    sealed = segments(tmp_path / "host")
    for sequence, segment in enumerate(sealed):
        assert send(captures, agent, tmp_path / "host", segment, sequence) == sequence + 1
        assert send(captures, agent, tmp_path / "host", segment, sequence) == sequence + 1
    counted = Tally(
        id="0" * 16,
        service=sealed[0].service,
        service_name="digits",
        answered=6,
        captured=6,
        sampled_out=0,
        dropped=0,
    )
    captures.report(agent, AGENT, CaptureReport(epoch=1, tallies=(counted,)))
    account = captures.account(agent, "digits")
    assert (account.captured, account.missing, account.doubled) == (6, 0, 0)

    now = NOON + timedelta(days=2)
    assert rewriting.expire(WORKSPACE, now, days=1.5, most=0) == 1
    assert captures.segments(agent) == tuple(sealed[1:])
    assert rewriting.expire(WORKSPACE, now, days=0, most=sealed[2].size) == 1
    assert rewriting.expire(WORKSPACE, now, days=0, most=0) == 0
    assert captures.segments(agent) == (sealed[2],)
    files = [path.stem for path in (tmp_path / "captured").rglob("*.parquet")]
    assert files == [sealed[2].name]
    account = captures.account(agent, "digits")
    assert (account.captured, account.missing) == (6, 0)  # what was deleted is not missing

    assert send(captures, agent, tmp_path / "host", sealed[0], 3) == 4
    assert captures.segments(agent) == (sealed[2],)  # and does not come back


def test_a_file_that_is_just_coming_in_is_not_taken_twice(
    captures: Captures, agent: Principal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = segments(tmp_path / "host")[0]
    real = CapturedFiles.place
    refused = []

    def place(files: CapturedFiles, segment: Segment, arrival: Arrival) -> None:
        with pytest.raises(Unavailable, match="just coming in") as raised:
            send(captures, agent, tmp_path / "host", segment, 0)  # the agent did not wait
        refused.append(raised)
        real(files, segment, arrival)

    monkeypatch.setattr(CapturedFiles, "place", place)
    assert send(captures, agent, tmp_path / "host", first, 0) == 1
    assert send(captures, agent, tmp_path / "host", first, 0) == 1
    assert captures.segments(agent) == (first,)
    assert len(refused) == 1


def test_a_question_waits_for_its_turn_and_not_for_ever(
    captures: Captures, agent: Principal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(captures, agent, tmp_path / "host", segments(tmp_path / "host")[0], 0)
    one = AskCaptured(sql="SELECT 1")
    with ExitStack() as others:
        for _ in range(MOST_QUESTIONS):
            others.enter_context(captures._turn())
        with monkeypatch.context() as patched:
            patched.setattr("modelyard.control.captures.LONGEST_WAIT", 0.01)
            with (
                pytest.raises(Unavailable, match="4 questions about captured records"),
                captures.ask(agent, one),
            ):
                pass
        answers = ThreadPoolExecutor(1)
        waiting = answers.submit(answered_with, captures, agent, one)
    assert waiting.result(60) == [[1]]
    answers.shutdown()


def answered_with(captures: Captures, agent: Principal, asked: AskCaptured) -> Any:
    with captures.ask(agent, asked) as path:
        return json.loads(path.read_bytes())["rows"]


def test_what_is_not_what_it_says_is_refused(
    captures: Captures, agent: Principal, tmp_path: Path
) -> None:
    first, second, _ = segments(tmp_path / "host")
    with pytest.raises(IntegrityError, match="arrived as"):
        send(captures, agent, tmp_path / "host", first, 0, content=b"something else")
    with pytest.raises(Conflict, match="came as number 7"):
        send(captures, agent, tmp_path / "host", second, 7)
    assert captures.segments(agent) == ()
    assert list((tmp_path / "captured").rglob("*.parquet")) == []
    with (
        pytest.raises(NotFound, match="`digits` not found"),
        captures.ask(agent, AskCaptured(sql="SELECT 1", service="digits")),
    ):
        pass


def test_an_agent_is_believed_about_its_own_services(
    captures: Captures, agent: Principal, tmp_path: Path
) -> None:
    first, *_ = segments(tmp_path / "host")
    counted = {"answered": 1, "captured": 1, "sampled_out": 0, "dropped": 0}
    with captures._database.write() as tx:
        tx.agents.ensure(WORKSPACE, "other")
        living = add_service(tx)
    for service, name in ((living.id, "digits"), (first.service, "digits"), (living.id, "faces")):
        segment = first.model_copy(update={"service": service, "service_name": name})
        tally = Tally(id="0" * 16, service=service, service_name=name, **counted)
        with captures.receive() as arrival, pytest.raises(PermissionDenied, match=name):
            captures.add(agent, "other", 1, 0, segment, arrival)
        with pytest.raises(PermissionDenied, match=name):
            captures.report(agent, "other", CaptureReport(epoch=1, tallies=(tally,)))
    assert captures.segments(agent) == ()
    own = Tally(id="0" * 16, service=living.id, service_name="digits", **counted)
    captures.report(agent, AGENT, CaptureReport(epoch=1, tallies=(own,)))
    assert captures.account(agent, "digits").answered == 1


def test_a_file_that_is_gone_is_not_blamed_on_the_sql(
    captures: Captures, agent: Principal, tmp_path: Path
) -> None:
    first, *_ = segments(tmp_path / "host")
    send(captures, agent, tmp_path / "host", first, 0)
    (file,) = (tmp_path / "captured").rglob("*.parquet")
    file.unlink()
    with (
        pytest.raises(Unavailable, match=first.name),
        captures.ask(agent, AskCaptured(sql="SELECT 1")),
    ):
        pass


def test_what_a_killed_server_has_left_goes_after_a_while(
    captures: Captures, rewriting: Rewriting, agent: Principal, tmp_path: Path
) -> None:
    (known, deleted, _) = segments(tmp_path / "host")
    for sequence, segment in enumerate((known, deleted)):
        send(captures, agent, tmp_path / "host", segment, sequence)
    folder = tmp_path / "captured"
    (file,) = folder.rglob(f"{known.name}.parquet")
    for left in (file.with_name("unrecorded.parquet"), folder / ".arriving" / "half"):
        left.write_bytes(b"x")
    (tmp_path / "answers" / "tmp").mkdir(parents=True)
    (tmp_path / "answers" / "table").write_bytes(b"x")
    soon, later = datetime.now(UTC), datetime.now(UTC) + timedelta(hours=2)
    assert rewriting.expire(WORKSPACE, soon, days=0, most=0) == 0
    assert rewriting.expire(WORKSPACE, later, days=0, most=0) == 2
    left = sorted(path.stem for path in folder.rglob("*") if path.is_file())
    assert left == sorted((known.name, deleted.name))
    assert list((tmp_path / "answers").iterdir()) == []


def encrypted(value: Any) -> bytes:
    return Encryption(public_key(PRIVATE)).encrypt(value).encode()


def test_sql_decrypts_where_it_says_so(
    captures: Captures, agent: Principal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = tmp_path / "host"
    folder.mkdir()
    texts = encrypted(7.5), encrypted("Ulm"), encrypted(7)[:-4] + b"AAAA"
    body = b'{"age": "%b", "towns": ["%b"], "changed": "%b"}' % texts
    (sealed,) = seal(folder, write(folder / "spool", "00001-gateway-0", answered("a", input=body)))
    send(captures, agent, folder, sealed, 0)

    def asks(sql: str) -> Any:
        with captures.ask(agent, AskCaptured(sql=f"{sql} FROM requests")) as path:
            return json.loads(path.read_bytes())["rows"]

    sql = "SELECT decrypt(inputs->'age')::DOUBLE + 1, decrypt(inputs->'towns'), Decrypt(outputs)"
    assert asks(sql) == [[8.5, ["Ulm"], [3]]]
    assert asks("SELECT decrypt(inputs->>'age'), try(decrypt(inputs->'changed'))") == [[7.5, None]]
    with pytest.raises(InvalidRequest, match=r"answered: `enc:.*…` was changed after"):
        asks("SELECT decrypt(inputs->'changed')")
    assert caplog.text.count("asks captured records in SQL with decrypt") == 3
    assert PRIVATE.hex() not in caplog.text


class TestForget:
    """Two files: of a worker, and of the gateway, which knows better of one of the requests."""

    WANTED = ForgetCaptured(field="id", value="7")

    @pytest.fixture
    def sealed(self, captures: Captures, agent: Principal, tmp_path: Path) -> list[Segment]:
        folder = tmp_path / "host"
        folder.mkdir()
        hashed = b'{"id": "%b"}' % hash_value(7, KEY).encode()
        at = int(NOON.timestamp() * 1e6)
        seal(
            folder,
            write(
                folder / "spool",
                "00001-worker-0",
                answered("clear", input=b'{"rows": [{"id": 8}, {"id": 7}]}'),
                answered("hashed", input=hashed),
                answered("encrypted", input=b'{"id": "%b"}' % encrypted(7)),
                answered("unreadable", input=b'{"id": "enc:7"}'),
                answered("other", input=b'{"id": 8, "age": 7}'),
                answered("bytes", input=b"7"),
                answered("lost", input=b'{"id": 9}'),
                Collected(at, "other", "inputs", b'[{"age": 7}]'),
                Collected(at, "clear", "inputs", b'[{"age": 7}]'),
                Collected(at, "", "inputs", b'[{"id": 7}, {"id": 8}]'),
            ),
        )
        lost = answered("lost", deployment="d1", output=b'{"id": 7}')
        seal(folder, write(folder / "spool", "00002-gateway-0", lost), deployment="", replica="")
        told = [Told(at, name, 0, b"1", "k") for name in ("clear", "other", "unknown")]
        feedback = write(folder / "spool", "00003-gateway-0", *told)
        seal(folder, feedback, deployment="", replica="")
        sealed = seal(folder)
        for sequence, segment in enumerate(sealed):
            send(captures, agent, folder, segment, sequence)
        counted = {"answered": 7, "captured": 8, "sampled_out": 0, "dropped": 0}
        one = sealed[0]
        tally = Tally(id="0" * 16, service=one.service, service_name="digits", **counted)
        captures.report(agent, AGENT, CaptureReport(epoch=1, tallies=(tally,)))
        return sealed

    def left(self, captures: Captures, agent: Principal) -> list[Any]:
        sql = (
            "SELECT prediction_id FROM requests UNION ALL "
            "SELECT data->>'id' FROM collected UNION ALL "
            "SELECT 'row of ' || prediction_id FROM rows UNION ALL "
            "SELECT 'truth of ' || prediction_id FROM feedback ORDER BY ALL"
        )
        with captures.ask(agent, AskCaptured(sql=sql)) as path:
            return [row[0] for row in json.loads(path.read_bytes())["rows"]]

    def check(self, captures: Captures, agent: Principal, tmp_path: Path) -> None:
        assert self.left(captures, agent) == [
            *("8", "bytes", "other", "row of bytes", "row of other", "row of unreadable"),
            *("truth of other", "truth of unknown", "unreadable", None),
        ]
        account = captures.account(agent, "digits")
        assert (account.captured, account.forgotten) == (7, 4)
        assert (account.missing, account.doubled) == (0, 0)
        files = list((tmp_path / "captured").rglob("*.parquet"))
        assert {digest_of(path.read_bytes()) for path in files} == {
            segment.digest for segment in captures.segments(agent)
        }

    @pytest.mark.usefixtures("sealed")
    def test_records_of_a_value_go_and_stay_counted(
        self, captures: Captures, rewriting: Rewriting, agent: Principal, tmp_path: Path
    ) -> None:
        gone = rewriting.forget(agent, "digits", self.WANTED)
        assert (gone.requests, gone.rows, gone.segments) == (4, 8, 3)
        self.check(captures, agent, tmp_path)
        again = rewriting.forget(agent, "digits", self.WANTED)
        assert (again.requests, again.rows, again.segments) == (0, 0, 0)
        self.check(captures, agent, tmp_path)
        rewriting.expire(WORKSPACE, NOON + timedelta(days=9), days=1, most=0)
        account = captures.account(agent, "digits")
        assert (account.captured, account.forgotten, account.missing) == (7, 4, 0)

    @pytest.mark.usefixtures("sealed")
    @pytest.mark.parametrize("kept", [0, 1])
    def test_what_a_killed_server_has_begun_is_ended(
        self,
        captures: Captures,
        rewriting: Rewriting,
        agent: Principal,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        kept: int,
    ) -> None:
        replaced: list[Segment] = []
        replace = CapturedFiles.replace

        def killed(files: CapturedFiles, segment: Segment) -> None:
            if len(replaced) == kept:
                raise KeyboardInterrupt
            replaced.append(segment)
            replace(files, segment)

        with monkeypatch.context() as patched:
            patched.setattr(CapturedFiles, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                rewriting.forget(agent, "digits", self.WANTED)
        rewriting.recover(WORKSPACE)
        self.check(captures, agent, tmp_path)
        assert rewriting.forget(agent, "digits", self.WANTED).requests == 0

    def test_before_the_manifest_says_so_nothing_has_changed(
        self,
        captures: Captures,
        rewriting: Rewriting,
        agent: Principal,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        sealed: list[Segment],
    ) -> None:
        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Captured, "rewrite", killed)
            with pytest.raises(KeyboardInterrupt):
                rewriting.forget(agent, "digits", self.WANTED)
        rewriting.recover(WORKSPACE)
        assert captures.segments(agent) == tuple(sealed)
        assert len(list((tmp_path / "captured").rglob("*.parquet"))) == 3
        assert rewriting.forget(agent, "digits", self.WANTED).requests == 4
        self.check(captures, agent, tmp_path)

    def test_nothing_captured(
        self, captures: Captures, rewriting: Rewriting, agent: Principal
    ) -> None:
        with pytest.raises(NotFound, match="`digits`"):
            rewriting.forget(agent, "digits", self.WANTED)

    @pytest.mark.usefixtures("sealed")
    def test_a_field_that_no_record_has_is_not_as_if_done(
        self, rewriting: Rewriting, agent: Principal, tmp_path: Path
    ) -> None:
        with pytest.raises(NotFound, match="no record of service `digits` has a field `idd`"):
            rewriting.forget(agent, "digits", ForgetCaptured(field="idd", value="7"))
        with Database(f"sqlite:///{tmp_path / 'modelyard.db'}").write() as tx:
            settings = ServiceSettings(capture_drop=("customer.name",))
            add_service(tx, "digits", settings=settings)
        with pytest.raises(NotFound, match=r"`--capture-drop customer\.name` leaves it out"):
            rewriting.forget(agent, "digits", ForgetCaptured(field="name", value="N5"))
        assert rewriting.forget(agent, "digits", ForgetCaptured(field="id", value="77")).rows == 0

    def test_the_last_records_of_a_field_may_be_forgotten_twice(
        self, captures: Captures, rewriting: Rewriting, agent: Principal, tmp_path: Path
    ) -> None:
        folder = tmp_path / "host"
        folder.mkdir()
        bodies = {"a": b'{"mail": "x"}', "b": b'{"other": 1}'}
        records = [answered(name, input=body) for name, body in bodies.items()]
        (sealed,) = seal(folder, write(folder / "spool", "00001-worker-0", *records))
        send(captures, agent, folder, sealed, 0)
        wanted = ForgetCaptured(field="mail", value="x")
        assert [rewriting.forget(agent, "digits", wanted).requests for _ in range(2)] == [1, 0]
        with pytest.raises(NotFound, match="has a field `mial`"):
            rewriting.forget(agent, "digits", ForgetCaptured(field="mial", value="x"))
        with Database(f"sqlite:///{tmp_path / 'modelyard.db'}").write() as tx:
            add_service(tx, "digits", settings=ServiceSettings(capture_drop=("mail",)))
        with pytest.raises(NotFound, match="`--capture-drop mail` leaves it out"):
            rewriting.forget(agent, "digits", wanted)

    def test_a_field_is_unknown_when_no_record_is_left_that_could_have_it(
        self, captures: Captures, rewriting: Rewriting, agent: Principal, tmp_path: Path
    ) -> None:
        folder = tmp_path / "host"
        folder.mkdir()
        (sealed,) = seal(
            folder, write(folder / "spool", "00001-worker-0", answered("a", input=b'{"mail": "x"}'))
        )
        send(captures, agent, folder, sealed, 0)
        rewriting.forget(agent, "digits", ForgetCaptured(field="mail", value="x"))
        with pytest.raises(NotFound, match="has a field `mial`"):
            rewriting.forget(agent, "digits", ForgetCaptured(field="mial", value="x"))

    @pytest.mark.usefixtures("sealed")
    def test_an_unknown_service_is_told_from_one_without_records(
        self, captures: Captures, agent: Principal, tmp_path: Path
    ) -> None:
        for ask in (captures.segments, captures.recorded, captures.account):
            with pytest.raises(NotFound, match="service `nope` not found") as raised:
                ask(agent, "nope")
            assert raised.value.hint == "there are no services yet; there are records of: `digits`"
        with Database(f"sqlite:///{tmp_path / 'modelyard.db'}").write() as tx:
            add_service(tx, "silent")
        for name, hint in (("nope", "there are: `silent`;"), ("silet", "did you mean `silent`?")):
            with pytest.raises(NotFound) as raised:
                captures.segments(agent, name)
            assert raised.value.hint == f"{hint} there are records of: `digits`"
        assert captures.segments(agent, "silent") == ()
        with pytest.raises(NotFound, match="of service `silent`: capture is off") as raised:
            captures.recorded(agent, "silent")
        assert "`modelyard service update silent --capture 100%` switches it on" in str(
            raised.value.hint
        )

    @pytest.mark.usefixtures("sealed")
    def test_what_is_captured_already_is_not_to_be_switched_on(
        self, captures: Captures, agent: Principal, tmp_path: Path
    ) -> None:
        with Database(f"sqlite:///{tmp_path / 'modelyard.db'}").write() as tx:
            add_service(tx, "idle", settings=ServiceSettings(capture=100))
        for ask in (captures.recorded, captures.account):
            with pytest.raises(NotFound, match="capture is on, but nothing has come") as raised:
                ask(agent, "idle")
            assert "switches it on" not in str(raised.value.hint)
        before = NOON - timedelta(days=30)
        with pytest.raises(NotFound, match="no captured records of service `digits` of this time"):
            captures.recorded(agent, "digits", until=before)
        asked = AskCaptured(sql="SELECT 1", until=before)
        with (
            pytest.raises(NotFound, match="there are no captured records of this time"),
            captures.ask(agent, asked),
        ):
            pass

    @pytest.mark.usefixtures("sealed")
    def test_a_time_that_ends_before_it_begins_is_refused(
        self, captures: Captures, agent: Principal, tmp_path: Path
    ) -> None:
        times = {"since": NOON, "until": NOON - timedelta(days=1)}
        for ask in (captures.segments, captures.recorded):
            with pytest.raises(InvalidRequest, match="is not after"):
                ask(agent, "digits", **times)
        with pytest.raises(InvalidRequest, match="is not after"):
            Qualities(captures, tmp_path).measure(agent, "digits", AskQuality(**times))


@pytest.mark.usefixtures("sealed")
class TestQuestionsWithoutEnd:
    ENDLESS = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b"

    def refused(self, captures: Captures, agent: Principal) -> str:
        with (
            pytest.raises(Unavailable, match="the question takes too long") as refused,
            captures.ask(agent, AskCaptured(sql=self.ENDLESS)),
        ):
            pass
        return str(refused.value.hint)

    def test_end_by_the_clock(
        self, captures: Captures, agent: Principal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(captures_module, "PATIENCE", 0.5)
        assert "a shorter time" in self.refused(captures, agent)

    def test_end_by_their_processor_time(
        self, captures: Captures, agent: Principal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(captures_module, "PATIENCE", 600.0)
        monkeypatch.setattr(captures_module, "Question", partial(Question, seconds=1))
        assert "a shorter time" in self.refused(captures, agent)


def test_a_client_waits_longer_than_an_answer_may_take() -> None:
    assert captures_module.PATIENCE * 1.5 < WORKED_OUT
    assert rewriting_module.PATIENCE * 1.5 <= REWRITTEN
