from __future__ import annotations

import csv
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from tests.segments import KNOWN, NOON, SERVICE, answered, seal, write

from modelyard.capture import sealing
from modelyard.capture.asking import Refused, ask
from modelyard.capture.jobs import Question
from modelyard.domain.captured import AnswerForm, Segment
from modelyard.domain.columns import Columns, ColumnType, Declared
from modelyard.domain.values import digest_of
from modelyard_runtime.capture.records import Collected, Told
from modelyard_runtime.capture.segments import segments_in


def rows(tmp_path: Path, sql: str, form: AnswerForm = AnswerForm.JSON, **limits: Any) -> Any:
    files = tuple(sorted((tmp_path / "outbox").glob("*.parquet")))
    answer = tmp_path / "answer"
    ask(Question(sql=sql, files=files, form=form, answer=answer, **limits))
    return orjson.loads(answer.read_bytes())["rows"] if form is AnswerForm.JSON else answer


class TestSeal:
    def test_a_segment_becomes_a_file_and_goes(self, tmp_path: Path) -> None:
        path = write(tmp_path / "spool", "00001-worker-0", answered("a"), answered("b", status=500))
        (sealed,) = seal(tmp_path, path)
        assert not path.exists()
        file = tmp_path / "outbox" / f"{sealed.name}.parquet"
        assert sealed == Segment(
            name="00001-worker-0-source-0",
            service=SERVICE,
            service_name="digits",
            model="m",
            version=1,
            image="digits:1",
            date=date(2026, 1, 2),
            rows=2,
            requests=2,
            first=NOON,
            last=NOON,
            size=file.stat().st_size,
            digest=digest_of(file.read_bytes()),
        )
        assert rows(
            tmp_path,
            "SELECT time, prediction_id, key_id, service, deployment, image, model, version, "
            "replica, recorded_by, path, status, seconds, inputs, outputs FROM requests "
            "WHERE status = 500",
        ) == [
            [
                *("2026-01-02T12:00:00+00:00", "b", "k", "digits", "d1", "digits:1", "m", 1),
                *("r0", "worker", "/score", 500, 0.25, {"data": [[1, 2]]}, [3]),
            ]
        ]

    def test_the_same_records_give_the_same_bytes(self, tmp_path: Path) -> None:
        records = [answered(str(n)) for n in range(500)]
        digests = set()
        for attempt in ("a", "b"):
            (tmp_path / attempt).mkdir()
            path = write(tmp_path / attempt / "spool", "00001-worker-0", *records)
            digests |= {one.digest for one in seal(tmp_path / attempt, path)}
        assert len(digests) == 1

    def test_one_file_for_each_deployment_and_day(self, tmp_path: Path) -> None:
        later = int(datetime(2026, 1, 3, tzinfo=UTC).timestamp() * 1e6)
        path = write(
            tmp_path / "spool",
            "00001-gateway",
            answered("a", deployment="d1"),
            answered("b", deployment="d2"),
            answered("c", deployment="d2", at=later),
            answered("d", code="gateway", status=503),
        )
        sealed = seal(tmp_path, path, deployment="", replica="")
        assert {(one.model, one.version, str(one.date), one.rows) for one in sealed} == {
            ("m", 1, "2026-01-02", 1),
            ("m", 2, "2026-01-02", 1),  # which nobody has answered: the newest of the service
            ("m", 2, "2026-01-03", 1),
        }
        assert len(sealed) == 4
        assert rows(tmp_path, "SELECT count(*), min(recorded_by) FROM requests") == [[4, "gateway"]]

    def test_bodies_that_are_not_json_stay_as_they_are(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "spool",
            "00001-worker-0",
            answered("a", input=b"\xff\x00", output=b"[NaN]"),
            answered("b", input=None, input_size=5_000_000, output=b""),
            answered("c", input=b"[" * 5000 + b"]" * 5000),
        )
        seal(tmp_path, path)
        assert rows(
            tmp_path,
            "SELECT inputs, hex(input_bytes), outputs, input_size, decode(output_bytes) "
            "FROM requests WHERE prediction_id < 'c' ORDER BY prediction_id",
        ) == [[None, "FF00", None, 18, "[NaN]"], [None, None, None, 5_000_000, None]]
        assert rows(tmp_path, "SELECT count(*) FROM requests") == [[3]]

    def test_what_a_rule_kept_out_is_said_beside_files_of_before_rules(
        self, tmp_path: Path
    ) -> None:
        seal(tmp_path, write(tmp_path / "spool", "00001-worker-0", answered("a")))
        (sealed,) = (tmp_path / "outbox").glob("*.parquet")
        of_before = sealed.with_name("old.parquet")
        source = duckdb.read_parquet(str(sealed))
        source.project("* EXCLUDE (withheld, attempt)").write_parquet(str(of_before))
        of_before.replace(sealed)
        assert rows(tmp_path, "SELECT prediction_id, withheld FROM requests") == [["a", None]]
        kept_out = answered("b", input=None, withheld="inputs")
        seal(tmp_path, write(tmp_path / "spool", "00002-worker-0", kept_out))
        found = rows(tmp_path, "SELECT prediction_id, withheld FROM requests ORDER BY ALL")
        assert found == [["a", None], ["b", "inputs"]]

    def test_what_is_no_record_is_left_out(self, tmp_path: Path) -> None:
        path = write(tmp_path / "spool", "00001-worker-0", b"\xc1", answered("a"), b"\x90")
        (sealed,) = seal(tmp_path, path)
        assert sealed.rows == 1
        assert seal(tmp_path, write(tmp_path / "spool", "00002-worker-0", b"\xc1")) == [sealed]
        assert segments_in(tmp_path / "spool") == []

    def test_what_the_gateway_answered_counts(self, tmp_path: Path) -> None:
        late = write(tmp_path / "spool", "00001-worker-0", answered("a"), answered("b"))
        seal(tmp_path, late)
        lost = answered("a", deployment="d1", status=502, code="gateway")
        seal(tmp_path, write(tmp_path / "spool", "00002-gateway", lost), deployment="", replica="")
        assert rows(
            tmp_path, "SELECT prediction_id, status FROM requests ORDER BY prediction_id"
        ) == [["a", 502], ["b", 200]]

    def test_of_repeated_attempts_the_last_counts_and_a_double_is_still_seen(
        self, tmp_path: Path
    ) -> None:
        for number, again in enumerate((1, 2, 2)):
            record = answered("a", attempt=again, status=199 + again)
            seal(tmp_path, write(tmp_path / "spool", f"0000{number}-worker-{again}", record))
        found = rows(tmp_path, "SELECT prediction_id, attempt, status FROM requests")
        assert found == [["a", 2, 201], ["a", 2, 201]]

    def test_what_cannot_be_sealed_holds_up_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        spool = tmp_path / "spool"
        bad = write(spool, "00001-worker-0", answered("a"))
        good = write(spool, "00002-worker-0", answered("b"))
        real = sealing._write_parquet

        def fails(folder: Path, name: str, *rest: Any) -> tuple[int, str] | None:
            if name.startswith("00001"):
                raise duckdb.ConversionException("such a value cannot be")
            return real(folder, name, *rest)

        monkeypatch.setattr(sealing, "_write_parquet", fails)
        (sealed,) = seal(tmp_path, bad, good)
        assert sealed.name.startswith("00002")
        assert list(spool.iterdir()) == []
        aside = tmp_path / "outbox" / "00001-worker-0-source.damaged"
        assert aside.stat().st_size > 0
        assert "such a value cannot be" in capsys.readouterr().err

    def test_what_no_runtime_writes_holds_nothing_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool, day = tmp_path / "spool", 86_400_000_000
        old = [answered(str(n), at=n * day) for n in range(sealing.MOST_FILES + 1)]
        deep = Collected(0, "", "inputs", b'[{"x":' + b"[" * 500 + b"]" * 500 + b"}]")
        monkeypatch.setattr(sealing, "LARGEST", 200_000)
        paths = [
            write(spool, "00001-worker-0", *old),
            write(spool, "00002-worker-0", deep),
            write(spool, "00003-worker-0", b"x" * 200_000),
            write(spool, "00004-worker-0", answered("good")),
        ]
        (sealed,) = seal(tmp_path, *paths)
        assert sealed.name.startswith("00004")
        aside = sorted(path.name[:5] for path in (tmp_path / "outbox").glob("*.damaged"))
        assert aside == ["00001", "00002", "00003"]

    def test_a_full_disk_damages_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write(tmp_path / "spool", "00001-worker-0", answered("a"))

        def full(*_: Any) -> tuple[int, str]:
            raise duckdb.IOException("No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(sealing, "_write_parquet", full)
            with pytest.raises(duckdb.IOException):
                seal(tmp_path, path)
        assert path.exists()
        (sealed,) = seal(tmp_path, path)
        assert sealed.rows == 1

    def test_what_a_script_collects_is_a_row_each(self, tmp_path: Path) -> None:
        at = int(NOON.timestamp() * 1e6)
        path = write(
            tmp_path / "spool",
            "00001-worker-0",
            answered("a"),
            Collected(at, "a", "inputs", b'[{"age": 1}, {"age": 2}]'),
            Collected(at, "", "signals", b'[{"heat": 0.5}]'),
            Collected(at, "b", "broken", b"[1, "),
        )
        (sealed,) = seal(tmp_path, path)
        assert sealed.rows == 4
        assert rows(tmp_path, "SELECT count(*) FROM requests") == [[1]]
        assert rows(
            tmp_path,
            "SELECT name, prediction_id, data, model, version FROM collected ORDER BY name, data",
        ) == [
            ["inputs", "a", {"age": 1}, "m", 1],
            ["inputs", "a", {"age": 2}, "m", 1],
            ["signals", None, {"heat": 0.5}, "m", 1],
        ]

    def test_what_turned_out_to_be_true_is_a_row_each(self, tmp_path: Path) -> None:
        at = int(NOON.timestamp() * 1e6)
        told = [Told(at, "a", 0, b'"cat"', "k"), Told(at, "later", 2, b"[1.5]", "")]
        path = write(tmp_path / "spool", "00001-gateway-0", answered("a"), *told)
        (sealed,) = seal(tmp_path, path, replica="")
        assert (sealed.rows, sealed.requests) == (3, 1)
        assert rows(tmp_path, "SELECT prediction_id FROM requests") == [["a"]]
        assert rows(
            tmp_path, "SELECT time, prediction_id, row, truth, service, key_id FROM feedback"
        ) == [
            ["2026-01-02T12:00:00+00:00", "a", 0, "cat", "digits", "k"],
            ["2026-01-02T12:00:00+00:00", "later", 2, [1.5], "digits", None],
        ]

    def test_the_last_truth_of_a_row_counts(self, tmp_path: Path) -> None:
        at = int(NOON.timestamp() * 1e6)
        both = {"input": b'{"data": [[1], [2]]}', "output": b"[3, 4]"}
        told = [(1, 0, b"8"), (3, 0, b"7"), (2, 0, b"9"), (1, 1, b'{"kind": 5}')]
        truths = [Told(at + later, "a", row, truth, "k") for later, row, truth in told]
        path = write(tmp_path / "spool", "00001-gateway-0", answered("a", **both), *truths)
        seal(tmp_path, path, replica="")
        sql = (
            "SELECT row, input_0, output, truth, image, version, told_at FROM labelled ORDER BY row"
        )
        assert rows(tmp_path, sql) == [
            [0, 1, 3, 7, "digits:1", 1, "2026-01-02T12:00:00.000003+00:00"],
            [1, 2, 4, {"kind": 5}, "digits:1", 1, "2026-01-02T12:00:00.000001+00:00"],
        ]

    @pytest.mark.parametrize(
        ("truths", "kind", "written"),
        [
            (('"cat"', '"7"'), "VARCHAR", ["cat", "7"]),
            (("6", "-7"), "BIGINT", ["6", "-7"]),
            (("6.0", "7"), "DOUBLE", ["6.0", "7.0"]),
            (("1", str(1 << 63)), "DOUBLE", ["1.0", "9.223372036854776e+18"]),
            (("true", "false"), "BOOLEAN", ["true", "false"]),
            (('"cat"', "7"), "JSON", ['"cat"', "7"]),
            (("[1]", '{"a": 2}'), "JSON", ["[1]", '{"a": 2}']),
        ],
    )
    def test_truths_have_the_type_that_all_of_them_have(
        self, tmp_path: Path, truths: tuple[str, ...], kind: str, written: list[str]
    ) -> None:
        at = int(NOON.timestamp() * 1e6)
        both = {"input": b'{"data": [[1], [2]]}', "output": b"[3, 4]"}
        told = [Told(at, "a", row, truth.encode(), "k") for row, truth in enumerate(truths)]
        replaced = Told(at - 1, "a", 0, b'{"of": "before"}', "k")
        unmatched = Told(at, "a", 9, b'{"of": "no row"}', "k")
        records = (answered("a", **both), *told, replaced, unmatched)
        seal(tmp_path, write(tmp_path / "spool", "00001-gateway-0", *records), replica="")
        assert rows(tmp_path, "SELECT typeof(truth) FROM LABELLED LIMIT 1") == [[kind]]
        path = rows(tmp_path, "SELECT truth FROM labelled ORDER BY row", AnswerForm.CSV)
        with path.open(newline="") as file:
            assert list(csv.reader(file)) == [["truth"], *([one] for one in written)]
        raw = rows(tmp_path, "SELECT truth::VARCHAR FROM feedback WHERE row < 2 ORDER BY row, time")
        assert raw == [['{"of": "before"}'], *([one] for one in truths)]


ROWS = "SELECT * EXCLUDE (time, service, deployment, replica) FROM rows ORDER BY ALL"


class TestRows:
    def test_one_for_each_row_that_was_scored(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "spool",
            "00001-worker-0",
            answered("a", input=b'{"data": [{"age": 1}, {"age": 2.5}]}', output=b"[true, false]"),
            answered("b", input=b'{"data": [{"age": 3}]}', output=b'{"message": "no"}', status=500),
            answered("c", input=b"\xff", output=b"", status=415),
        )
        (sealed,) = seal(tmp_path, path)
        assert (sealed.rows, sealed.requests) == (3, 3)
        assert rows(tmp_path, ROWS) == [
            ["a", 0, "digits:1", "m", 1, 1.0, True],
            ["a", 1, "digits:1", "m", 1, 2.5, False],
            ["b", 0, "digits:1", "m", 1, 3.0, None],
        ]
        (kinds,) = rows(tmp_path, "SELECT typeof(input_age), typeof(output) FROM rows LIMIT 1")
        assert kinds == ["DOUBLE", "BOOLEAN"]
        assert rows(tmp_path, "SELECT count(*) FROM requests") == [[3]]
        assert rows(tmp_path, "SELECT count(*) FROM collected") == [[0]]

    def test_types_by_what_the_image_declares(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        named = {"at": ColumnType.TIMESTAMPTZ, "age": ColumnType.BIGINT, "type": ColumnType.VARCHAR}
        columns = Columns(inputs=Declared(named=named), outputs=Declared(unnamed=ColumnType.DOUBLE))
        monkeypatch.setitem(KNOWN, "d1", KNOWN["d1"].model_copy(update={"columns": columns}))
        body = b'{"data": [["2026-01-02T03:04:05Z", 7, "x"], ["soon", "7", 1]]}'
        record = answered("a", input=body, output=b"[1, 2]")
        seal(tmp_path, write(tmp_path / "spool", "00001-worker-0", record))
        sql = "SELECT input_at, input_age, input_type, output, typeof(output) FROM rows"
        assert rows(tmp_path, f"{sql} ORDER BY row") == [
            ["2026-01-02T03:04:05+00:00", 7, "x", 1.0, "DOUBLE"],
            [None, None, None, 2.0, "DOUBLE"],
        ]

    def test_files_of_several_types_are_asked_together(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        values = (b"1", b"2.5", b'"x"', b"true", b"[1]")
        for number, value in enumerate(values):
            body = b'{"data": [{"x": %b}]}' % value
            name = f"0000{number}-worker-0"
            seal(tmp_path, write(tmp_path / "spool", name, answered(name, input=body)))
        columns = Columns(inputs=Declared(named={"X": ColumnType.TIMESTAMPTZ}))
        monkeypatch.setitem(KNOWN, "d1", KNOWN["d1"].model_copy(update={"columns": columns}))
        time = answered("t", input=b'{"data": [{"X": "2026-01-02T03:04:05Z"}]}')
        seal(tmp_path, write(tmp_path / "spool", "00009-worker-0", time))
        found = rows(tmp_path, "SELECT input_x FROM rows ORDER BY prediction_id")
        assert found == [[x] for x in ("1", "2.5", "x", "true", "[1]", "2026-01-02 03:04:05+00")]

    def test_beside_files_of_before_there_were_rows(self, tmp_path: Path) -> None:
        seal(tmp_path, write(tmp_path / "spool", "00001-worker-0", answered("a")))
        (sealed,) = (tmp_path / "outbox").glob("*.parquet")
        old = sealed.with_name("old.parquet")
        columns = ", ".join(name for name in sealing.RECORD_COLUMNS if name != "row")
        with duckdb.connect() as connection:
            source = connection.read_parquet(str(sealed)).filter("recorded_by = 'worker'")
            source.project(columns).write_parquet(str(old))
        old.replace(sealed)
        assert rows(tmp_path, "SELECT count(*) FROM rows") == [[0]]
        seal(tmp_path, write(tmp_path / "spool", "00002-worker-0", answered("b")))
        found = rows(tmp_path, "SELECT prediction_id, input_0, input_1, output FROM rows")
        assert found == [["b", 1, 2, 3]]

    def test_what_the_gateway_answered_counts(self, tmp_path: Path) -> None:
        seal(tmp_path, write(tmp_path / "spool", "00001-worker-0", answered("a")))
        lost = answered("a", deployment="d1", status=502, output=b'{"message": "lost"}')
        seal(tmp_path, write(tmp_path / "spool", "00002-gateway", lost), deployment="", replica="")
        assert rows(tmp_path, "SELECT prediction_id, input_0, output FROM rows") == [["a", 1, None]]

    def test_whatever_was_sent_is_sealed(self, tmp_path: Path) -> None:
        bodies = [
            b'{"data": [{"": 1, "a\\"b": 2, "\\u0000": "\\u0000", "A": 1, "a": "x"}]}',
            b'{"data": [{"x": 18446744073709551615}, {"x": -9223372036854775808}]}',
            b'{"data": [{"x": 1e308}, {"x": {"deep": %b}}]}' % (b"[" * 300 + b"]" * 300),
            orjson.dumps({"data": [{f"stray{n}": n} for n in range(3000)]}),
            orjson.dumps({"data": [list(range(5000))]}),
            orjson.dumps({"data": [[1]] * 50_000}),
        ]
        records = [answered(str(n), input=body) for n, body in enumerate(bodies)]
        (sealed,) = seal(tmp_path, write(tmp_path / "spool", "00001-worker-0", *records))
        assert sealed.rows == len(bodies)
        counted = "SELECT count(*) FROM rows GROUP BY prediction_id ORDER BY prediction_id"
        assert rows(tmp_path, counted) == [[1], [2], [2], [3000], [1], [50_000]]
        with duckdb.connect() as connection:
            file = connection.read_parquet(str(tmp_path / "outbox" / f"{sealed.name}.parquet"))
            assert len(file.columns) < 1100


class TestAsk:
    @pytest.fixture(autouse=True)
    def _sealed(self, tmp_path: Path) -> None:
        records = [answered(str(n), seconds=n / 10) for n in range(100)]
        seal(tmp_path, write(tmp_path / "spool", "00001-worker-0", *records))
        (tmp_path / "secret.csv").write_text("secret\n42\n")

    def test_answers_in_every_form(self, tmp_path: Path) -> None:
        sql = "SELECT prediction_id, inputs->'data' AS data FROM requests ORDER BY time LIMIT 2"
        assert rows(tmp_path, sql) == [["0", [[1, 2]]], ["1", [[1, 2]]]]
        text = rows(tmp_path, sql, AnswerForm.CSV).read_text()
        assert text == 'prediction_id,data\n0,"[[1,2]]"\n1,"[[1,2]]"\n'
        parquet = rows(tmp_path, sql, AnswerForm.PARQUET)
        assert duckdb.read_parquet(str(parquet)).fetchall() == [("0", "[[1,2]]"), ("1", "[[1,2]]")]
        assert len(rows(tmp_path, "SELECT * FROM requests", most_rows=7)) == 7

    def test_what_json_has_no_word_for_is_text(self, tmp_path: Path) -> None:
        sql = "SELECT '[NaN]'::JSON, 9223372036854775808::HUGEINT, map([1], [2]), '\\x01'::BLOB"
        assert rows(tmp_path, sql) == [["[NaN]", "9223372036854775808", {"1": 2}, "01"]]
        with pytest.raises(Refused, match="no JSON"):
            rows(tmp_path, "SELECT [99999999999999999999::HUGEINT]")

    def test_what_is_put_aside_lies_beside_the_answer(self, tmp_path: Path) -> None:
        (((folder, most),)) = rows(
            tmp_path,
            "SELECT current_setting('temp_directory'), current_setting('max_temp_directory_size')",
        )
        assert (folder, most) == (str(tmp_path / "aside"), "4.0 GiB")

    def test_a_folder_may_be_called_like_a_pattern(self, tmp_path: Path) -> None:
        odd, even = tmp_path / "a[b]*?{c,d}", tmp_path / "ab"
        for folder, name in ((odd, "mine"), (even, "other")):
            folder.mkdir()
            seal(folder, write(folder / "spool", "00001-worker-0", answered(name)))
        assert rows(odd, "SELECT prediction_id FROM requests") == [["mine"]]
        for other in sorted((even / "outbox").glob("*.parquet")):
            with pytest.raises(Refused, match="Permission"):
                rows(odd, f"SELECT * FROM '{tmp_path}/a[b]/outbox/{other.name}'")

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM '{tmp}/secret.csv'",
            "SELECT * FROM read_csv('{tmp}/secret.csv')",
            "SELECT * FROM read_text('/etc/hostname')",
            "SELECT * FROM glob('{tmp}/*')",
            "SELECT * FROM requests; SELECT 1",
            "COPY requests TO '{tmp}/stolen.csv'",
            "COPY (SELECT 1) TO '{tmp}/answer'",
            "ATTACH '{tmp}/other.db'",
            "SET enable_external_access = true",
            "CREATE TABLE mine AS SELECT 1",
            "DROP VIEW requests",
            "INSTALL httpfs",
            "PRAGMA database_list",
            "",
            "SELEC 1",
        ],
    )
    def test_the_sql_reaches_nothing_else(self, tmp_path: Path, sql: str) -> None:
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(Refused, match=r".+"):
            rows(tmp_path, sql.format(tmp=tmp_path))
        assert sorted(path.name for path in tmp_path.iterdir()) == before

    def test_a_program_says_why_not(self, tmp_path: Path) -> None:
        question = Question(sql="SELECT 1 FROM counting", files=(), answer=tmp_path / "answer")
        command = [sys.executable, "-P", "-m", "modelyard.capture.asking"]
        files = tuple((tmp_path / "outbox").glob("*.parquet"))
        question = question.model_copy(update={"files": files})
        done = subprocess.run(
            command, input=question.model_dump_json().encode(), capture_output=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.decode() == (
            "there is no view `counting`: there are `requests`, `rows`, `collected`, `feedback` "
            "and `labelled`\n"
        )
