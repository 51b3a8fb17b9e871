"""Requests are recorded where they are answered, come home as Parquet, and answer SQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

import modelyard
from modelyard.domain.captured import Account

DAY = timedelta(days=1)


def command(*words: str, fails: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "modelyard.cli", "capture", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) is fails, done.stderr
    return done.stderr if fails else done.stdout


def whole(account: Account) -> tuple[int, ...]:
    """What has to be so once everything has come home."""
    assert account.is_final
    assert account.holds
    return account.answered, account.captured, account.sampled_out, account.dropped


def test_what_is_to_be_encrypted_is_nowhere_in_the_clear(
    yard: modelyard.Client, breakable: str
) -> None:
    home = Path(os.environ["MODELYARD_HOME"])
    secret = {"email": "canary-17@example.org", "age": 170017.25}
    yard.services.deploy("veiled", breakable, capture="100%", capture_encrypt=["customer"])
    for number in range(3):
        yard.services.score("veiled", {"number": number, "customer": secret})

    def traces(*words: str) -> list[str]:
        folders = (path for path in home.iterdir() if path.name not in ("blobs", "layers"))
        files = (p for folder in folders for p in (folder, *folder.rglob("*")) if p.is_file())
        return [str(p) for p in files if any(word.encode() in read(p) for word in words)]

    plain = [str(value) for value in secret.values()]
    assert traces("veiled")  # it looks where things are
    assert traces(*plain) == []
    assert whole(yard.captures.verify("veiled")) == (3, 3, 0, 0)
    assert traces(*plain) == []
    sql = "SELECT {0}(inputs->'customer'), {0}(outputs->'got'->'customer'->'age') FROM requests"
    asked = yard.captures.query(sql.format("decrypt"), service="veiled")
    assert asked.rows == ((secret, secret["age"]),) * 3
    (row, *_) = yard.captures.query(sql.format(""), service="veiled").rows
    assert all("enc:" in json.dumps(value) for value in row)
    assert yard.captures.forget("veiled", "customer.email", secret["email"]).requests == 3
    assert traces(*plain) == []
    yard.services.delete("veiled")


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # a socket, or it has gone meanwhile
        return b""


def check_feedback(yard: modelyard.Client, rows: list[dict[str, Any]], folder: Path) -> None:
    """What turned out to be true is told, comes home, and says how good the answers were."""
    told = folder / "truths.csv"
    said = rows[0]["outputs"]["answer"]
    truths = zip(rows[:3], (said, said, "no"), strict=True)
    lines = [f"{row['prediction_id']},{truth}" for row, truth in truths]
    told.write_text("\n".join(["prediction_id,truth", *lines, "unknown,1"]))
    assert yard.services.feedback_all("seen", told) == 4
    assert yard.services.feedback("seen", rows[3]["prediction_id"], "no") == 1
    assert yard.services.feedback("seen", rows[3]["prediction_id"], said) == 1
    with pytest.raises(modelyard.InvalidRequest, match="there is no truth of `any`"):
        yard.services.feedback("seen", "any", [])
    assert yard.captures.verify("seen").is_final
    quality = yard.services.quality("seen", since=datetime.now(UTC) - DAY, output="answer")
    (measured,) = quality.measured
    assert (measured.rows, measured.labelled, quality.unmatched) == (20, 4, 1)
    assert measured.figures["accuracy"] == 0.75
    target = folder / "labelled.parquet"
    command("export", str(target), "--service", "seen", "--labelled")
    found = duckdb.sql(f"SELECT truth, input_number, image FROM '{target}' ORDER BY time")
    assert [row[1] for row in found.fetchall()] == [0, 1, 2, 3]


def test_records_come_home_and_answer_sql(
    yard: modelyard.Client, breakable: str, tmp_path: Path
) -> None:
    service = yard.services.deploy("seen", breakable, capture="100%")
    for number in range(20):
        yard.services.score("seen", {"number": number})
    with pytest.raises(modelyard.ScoringFailed):
        yard.services.score("seen", [1])
    assert whole(yard.captures.verify("seen")) == (21, 21, 0, 0)

    rows: list[dict[str, Any]] = json.loads(
        command(
            "query",
            "SELECT *, outputs->'got'->'number' AS number FROM requests ORDER BY time",
            *("--service", "seen", "-o", "json"),
        )
    )
    assert [row["number"] for row in rows[:20]] == list(range(20))
    keys = yard.services.keys("seen").primary
    first = rows[0]
    assert (first["service"], first["model"], first["image"]) == ("seen", "breakable", breakable)
    assert (first["status"], first["inputs"]) == (200, {"number": 0})
    assert first["key_id"] in keys
    assert first["replica"] == service.status.replicas[0].id
    assert first["recorded_by"] == "worker"
    assert rows[20]["status"] == 422
    assert len({row["prediction_id"] for row in rows}) == 21

    check_feedback(yard, rows, tmp_path)

    # Switched without a restart, and what a removed replica has recorded is not lost.
    for _ in range(2):  # the second time it is so already
        after = yard.services.update("seen", capture="50%", capture_hash=["number"])
    assert after.generation == service.generation + 1
    assert [r.id for r in after.status.replicas] == [r.id for r in service.status.replicas]
    assert all(replica.restarts == 0 for replica in after.status.replicas)
    for number in range(60):
        yard.services.score("seen", {"number": number})
    yard.services.delete("seen")
    answered, captured, sampled_out, dropped = whole(yard.captures.verify("seen"))
    assert (answered, captured + sampled_out, dropped) == (81, 81, 0)
    assert 0 < sampled_out < 60
    hashed = "inputs->>'number' LIKE 'hmac:%' AND outputs->'got'->>'number' = inputs->>'number'"
    found = yard.captures.query(f"SELECT count(*) FROM requests WHERE {hashed}", service="seen")
    assert found.rows == ((captured - 21,),)

    listed = command("list", "seen")
    assert listed.count("breakable:") == len(yard.captures.list("seen"))
    target = tmp_path / "seen.parquet"
    assert command("export", str(target), "--service", "seen").strip() == str(target)
    counted = duckdb.sql(f"SELECT count(DISTINCT prediction_id) FROM '{target}'").fetchall()
    assert counted == [(captured,)]
    assert "there already" in command("export", str(target), "--service", "seen", fails=True)
    assert "answered" in command("verify", "seen")
    refused = command("query", "SELECT * FROM read_text('/etc/hostname')", fails=True)
    assert "the SQL cannot be answered: Permission Error" in refused
    assert "there are records of: `seen`" in command(
        "query", "SELECT 1", "--service", "nobody", fails=True
    )

    gone = json.loads(command("forget", "seen", "--where", "number=3", "-y", "-o", "json"))
    assert gone["requests"] in (1, 2)  # in the clear, and hashed if it was in the sample
    account = yard.captures.verify("seen")
    assert (whole(account)[1], account.forgotten) == (captured, gone["requests"])
    assert yard.captures.forget("seen", "number", 3).requests == 0
