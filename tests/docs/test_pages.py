"""What README and guides show runs: files are written, commands run in the order of the page."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from tests.docs.pages import GUIDE, ROOT, commands, run, train, write_files
from tests.integration.registry.debian import debian_registry

SUPPLY_CHAIN = ROOT / "docs" / "concepts" / "supply-chain.md"
MOVING = ROOT / "docs" / "guides" / "move-an-image.md"
REGISTRY = "registry.example.org"
REPLAY = ROOT / "docs" / "guides" / "replay.md"
FEEDBACK = ROOT / "docs" / "concepts" / "feedback.md"
OPTIMIZING = ROOT / "docs" / "guides" / "profile-and-optimize.md"


def test_readme(tmp_path: Path, variables: dict[str, str]) -> None:
    train(tmp_path)
    write_files(ROOT / "README.md", tmp_path)
    outputs = [run(words, tmp_path, variables) for words in commands(ROOT / "README.md")]
    line = next(line for line in outputs[-1].splitlines() if line.lstrip().startswith("curl "))
    answer = subprocess.run(shlex.split(line), capture_output=True, text=True, check=True)
    assert answer.stdout == "[0]"


def test_first_service(tmp_path: Path, variables: dict[str, str]) -> None:
    train(tmp_path)
    shown = commands(GUIDE)
    assert len(shown) >= 7
    for words in shown:
        run(words, tmp_path, variables)


def test_profile_and_optimize(tmp_path: Path, variables: dict[str, str]) -> None:
    write_files(OPTIMIZING, tmp_path)
    subprocess.run([sys.executable, "forest.py"], cwd=tmp_path, check=True)
    outputs = [run(words, tmp_path, variables) for words in commands(OPTIMIZING)]
    assert len(outputs) == 6
    assert "kept ONNX, 32 bits" in outputs[4]
    assert "<svg " in (tmp_path / "curve.html").read_text()


def test_replay(tmp_path: Path, variables: dict[str, str]) -> None:
    write_files(REPLAY, tmp_path)
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True)
    outputs = {}
    for words in commands(REPLAY):
        deadline = time.monotonic() + 60
        while words[:2] == ["capture", "verify"] and time.monotonic() < deadline:
            if "taxi" in run(["capture", "list"], tmp_path, variables):
                break
        if words[0] == "reproduce":
            words[1] = outputs["capture query"].split()[-1]
        outputs[" ".join(words[:2])] = run(words, tmp_path, variables)
        if words[:2] == ["service", "feedback"]:
            wait_for_records(3, tmp_path, variables, "taxi")
    assert "\nnow      2         0         0.2" in outputs["replay taxi"]
    assert "0 of 1 requests are answered otherwise by taxi:2" in outputs["replay taxi"]
    assert "taxi:2" in outputs["service update"]
    assert "<svg " in (tmp_path / "report.html").read_text()
    assert 'failures="0"' in (tmp_path / "report.xml").read_text()
    assert "taxi:1 answers as it did." in list(outputs.values())[-1]


def test_feedback(tmp_path: Path, variables: dict[str, str]) -> None:
    train(tmp_path)
    (deploy,) = commands(ROOT / "README.md")[-1:]
    write_files(ROOT / "README.md", tmp_path)
    run(["told" if word == "digits" else word for word in deploy], tmp_path, variables)
    shown = [["told" if word == "digits" else word for word in one] for one in commands(FEEDBACK)]
    assert len(shown) == 7
    run(shown[0], tmp_path, variables)
    run(shown[1], tmp_path, variables)
    wait_for_records(1, tmp_path, variables)
    run(shown[2], tmp_path, variables)
    assert run(shown[3], tmp_path, variables) == "1 stored\n"
    wait_for_records(2, tmp_path, variables)
    quality = run(shown[4], tmp_path, variables)
    assert quality.split("\n")[1].split()[2:5] == ["1", "1", "1"]
    run(shown[5], tmp_path, variables)
    run(shown[6], tmp_path, variables)
    assert (tmp_path / "train.parquet").exists()


def wait_for_records(
    count: int, folder: Path, variables: dict[str, str], service: str = "told"
) -> None:
    deadline = time.monotonic() + 60
    found = 0
    while found < count and time.monotonic() < deadline:
        time.sleep(0.2)
        listed = run(["capture", "list", service, "-o", "json"], folder, variables)
        found = sum(segment["rows"] for segment in json.loads(listed))


def test_move_an_image(tmp_path: Path, variables: dict[str, str]) -> None:
    train(tmp_path)
    with debian_registry(tmp_path) as registry:
        outputs = [
            run([word.replace(REGISTRY, registry.host) for word in words], tmp_path, variables)
            for words in commands(MOVING)
        ]
    assert len(outputs) == 8
    assert "@sha256:" in outputs[5]
    assert outputs[6:] == ["digits-again:1\n", "digits-copy:1\n"]
    assert (tmp_path / "digits-folder" / "Containerfile").exists()


def test_supply_chain(tmp_path: Path, variables: dict[str, str]) -> None:
    train(tmp_path)
    write_files(SUPPLY_CHAIN, tmp_path)
    outputs = {
        " ".join(words[:2]): run(words, tmp_path, variables) for words in commands(SUPPLY_CHAIN)
    }
    assert len(outputs) == 8
    assert "imports     sklearn." in outputs["model show"]
    assert "digits:" in outputs["find-package scikit-learn<2"]
    check = [sys.executable, "check.py"]
    subprocess.run(check, cwd=tmp_path, check=True)
    image = json.loads((tmp_path / "image.json").read_text())
    sbom = (tmp_path / "sbom.json").read_bytes()
    assert image["signature"]["sbom"] == f"sha256:{hashlib.sha256(sbom).hexdigest()}"
    (tmp_path / "image.json").write_text(json.dumps({**image, "digest": "sha256:" + "0" * 64}))
    refused = subprocess.run(check, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert "InvalidSignature" in refused.stderr


def test_readme_shows_the_two_commands_and_a_block_on_its_first_screen() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    first_screen = "\n".join(lines[:30])
    assert "make demo" in first_screen
    assert "make test" in first_screen
    assert "```python" in first_screen
    assert "modelyard deploy" in first_screen


def test_links_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
