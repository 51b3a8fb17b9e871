from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_server import FakeServer
from typer.core import TyperGroup

from modelyard.cli import root
from modelyard.errors import ModelyardError, NotFound

GROUPS = {"model", "image", "service", "operation", "server"}


def commands(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Every command with the words that call it."""
    if command is None:
        for name in root.COMMANDS:
            yield from commands(root.load(name), (name,))
        return
    yield words, command
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            yield from commands(child, (*words, name))


ALL = dict(commands())
LEAVES = {words: command for words, command in ALL.items() if not isinstance(command, TyperGroup)}


@pytest.mark.parametrize("words", ALL, ids=" ".join)
class TestEveryCommand:
    def test_says_what_it_does(self, words: tuple[str, ...]) -> None:
        assert ALL[words].help
        assert not ALL[words].get_short_help_str(70).endswith("...")

    def test_has_help(self, run: Run, words: tuple[str, ...]) -> None:
        assert f"Usage: modelyard {' '.join(words)}" in run(*words, "--help").stdout


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
class TestEveryLeaf:
    def test_prints_json(self, words: tuple[str, ...]) -> None:
        names = {name for option in LEAVES[words].params for name in option.opts}
        assert {"--output", "-o"} <= names

    def test_every_parameter_has_help(self, words: tuple[str, ...]) -> None:
        for parameter in LEAVES[words].params:
            assert parameter.help, parameter.name

    def test_wrong_option_is_wrong_usage(self, run: Run, words: tuple[str, ...]) -> None:
        assert "No such option" in run(*words, "--no-such-option", code=2).stderr


class TestRoot:
    @pytest.mark.parametrize("name", root.COMMANDS)
    def test_table_says_what_the_command_says(self, name: str) -> None:
        first_line = root.load(name).help.splitlines()[0]
        assert first_line == root.COMMANDS[name].help

    def test_help_lists_every_command(self, run: Run) -> None:
        shown = run("--help").stdout
        for name, entry in root.COMMANDS.items():
            assert name in shown
            assert entry.help in shown

    def test_unknown_command_gets_a_suggestion(self, run: Run) -> None:
        assert "Did you mean 'model'" in run("modle", code=2).stderr

    def test_no_words_are_wrong_usage(self, run: Run) -> None:
        run(code=2)
        for name in GROUPS:
            run(name, code=2)

    def test_completion(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """For the shell that it is started from, which tests need not have."""
        monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
        assert "complete" in run("--show-completion").stdout


class TestEnd:
    def fail(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        def client() -> None:
            raise error

        monkeypatch.setattr("modelyard.cli.session.client", client)

    def test_error_has_message_and_hint(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fail(monkeypatch, NotFound("model `a:1` not found", hint="see `modelyard model list`"))
        result = run("model", "list", code=1)
        assert result.stdout == ""
        assert result.stderr == ("error: model `a:1` not found\nhint: see `modelyard model list`\n")

    def test_error_shows_evidence(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        cause = {"code": "init_raised", "message": "m", "evidence": ["line 3", "\x1b[2Jraise X"]}
        self.fail(monkeypatch, ModelyardError("failed", details={"cause": cause}))
        shown = run("model", "list", code=1).stderr
        assert "  line 3\n" in shown
        assert "  \\x1b[2Jraise X\n" in shown

    def test_interrupt_says_what_goes_on(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        interrupt = KeyboardInterrupt()
        interrupt.add_note("the operation goes on")
        self.fail(monkeypatch, interrupt)
        assert run("model", "list", code=130).stderr.splitlines() == [
            "",
            "interrupted",
            "the operation goes on",
        ]


def test_version(run: Run, server: FakeServer) -> None:
    assert run("version").stdout == "0.1.0\n"
    assert server.requests == []
