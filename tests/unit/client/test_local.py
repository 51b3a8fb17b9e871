from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelyard.client.local import LocalServer, RunningServer
from modelyard.errors import ServerUnreachable, Unauthenticated

GONE = 2**22 + 1
"""Above the largest pid of Linux: never a process."""


class Launch:
    """Stands in for the start of a server process."""

    def __init__(self, home: Path, *, ready_after: int = 3, status: int | None = None) -> None:
        self.home = home
        self.ready_after = ready_after
        self.status = status
        self.count = 0
        self.ticks = 0
        self.environment: dict[str, str] = {}

    def __call__(self, command: list[str], environment: dict[str, str], log: Path) -> Launch:
        self.count += 1
        self.environment = environment
        with log.open("a") as file:
            file.write("listening\n" if self.status is None else "Traceback\nConflict: taken\n")
        return self

    def poll(self) -> int | None:
        return self.status

    def sleep(self, seconds: float) -> None:
        self.ticks += 1
        if self.count and self.status is None and self.ticks == self.ready_after:
            publish(self.home)


def publish(home: Path, pid: int | None = None) -> None:
    home.mkdir(exist_ok=True)
    (home / "token").write_text("secret\n")
    document = {"url": "http://127.0.0.1:7878", "pid": pid or os.getpid()}
    (home / "server.json").write_text(json.dumps(document))


def local(launch: Launch, answers: bool = True) -> LocalServer:
    return LocalServer(
        launch.home, spawn=launch, answers=lambda running: answers, sleep=launch.sleep
    )


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch(tmp_path / "home")


class TestFind:
    def test_nothing_there(self, launch: Launch) -> None:
        assert local(launch).find() is None

    def test_running(self, launch: Launch) -> None:
        publish(launch.home)
        assert local(launch).find() == ("http://127.0.0.1:7878", "secret", None)

    def test_left_by_a_server_that_is_gone(self, launch: Launch) -> None:
        publish(launch.home, GONE)
        assert local(launch).find() is None

    def test_process_that_does_not_answer(self, launch: Launch) -> None:
        publish(launch.home)
        assert local(launch, answers=False).find() is None

    @pytest.mark.parametrize("text", ["", "{", '{"url": 1}', "[]"])
    def test_half_written(self, launch: Launch, text: str) -> None:
        publish(launch.home)
        (launch.home / "server.json").write_text(text)
        assert local(launch).find() is None

    def test_token_of_somebody_else(self, launch: Launch) -> None:
        publish(launch.home)
        (launch.home / "token").unlink()
        with pytest.raises(Unauthenticated, match="cannot read the token"):
            local(launch).find()


class TestStart:
    def test_not_when_there_is_one(self, launch: Launch) -> None:
        publish(launch.home)
        local(launch).ensure_running()
        assert launch.count == 0

    def test_waits_until_it_answers(self, launch: Launch) -> None:
        assert local(launch).ensure_running().token == "secret"
        assert (launch.count, launch.ticks) == (1, 3)

    def test_home_is_private(self, launch: Launch) -> None:
        local(launch).ensure_running()
        assert launch.home.stat().st_mode & 0o077 == 0

    def test_server_gets_absolute_paths(
        self, launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        server = LocalServer(
            Path("home"),
            Path("wheels"),
            spawn=launch,
            answers=lambda running: True,
            sleep=launch.sleep,
        )
        server.ensure_running()
        assert launch.environment["MODELYARD_HOME"] == str(tmp_path / "home")
        assert launch.environment["MODELYARD_WHEELS"] == str(tmp_path / "wheels")

    def test_command_keeps_the_current_folder_off_the_path(self, launch: Launch) -> None:
        assert local(launch).command()[1:] == ["-P", "-m", "modelyard.app"]

    def test_death_shows_the_last_lines(self, launch: Launch) -> None:
        launch.status = 1
        launch.home.mkdir()
        (launch.home / "server.log").write_text("yesterday\n")
        with pytest.raises(ServerUnreachable) as caught:
            local(launch).ensure_running()
        assert "exit status 1" in caught.value.message
        assert caught.value.details["log"] == ["Traceback", "Conflict: taken"]
        assert "Conflict: taken" in caught.value.message
        assert "server.log" in caught.value.hint

    def test_another_one_was_faster(self, launch: Launch) -> None:
        launch.status = 1
        sleep = launch.sleep

        def other(seconds: float) -> None:
            sleep(seconds)
            if launch.ticks == 5:
                publish(launch.home)

        server = LocalServer(launch.home, spawn=launch, answers=lambda running: True, sleep=other)
        assert server.ensure_running().token == "secret"

    def test_never_answers(self, launch: Launch) -> None:
        launch.ready_after = 10**6
        with pytest.raises(ServerUnreachable, match="does not answer 60 seconds after its start"):
            local(launch).ensure_running()

    def test_only_one_command_starts_it(self, launch: Launch) -> None:
        launch.home.mkdir()
        outer = local(launch)
        with outer._start_lock(1), pytest.raises(ServerUnreachable, match="still starting"):
            local(launch).ensure_running()
        assert launch.count == 0

    def test_home_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        launch = Launch(tmp_path / "file" / "home")
        with pytest.raises(ServerUnreachable, match="cannot be started"):
            local(launch).ensure_running()


class TestStop:
    def test_wait(self, launch: Launch) -> None:
        assert local(launch).wait_until_stopped(GONE, 1)
        assert not local(launch).wait_until_stopped(os.getpid(), 1)

    def test_running_is_what_the_server_wrote(self, launch: Launch) -> None:
        publish(launch.home)
        assert local(launch).running() == RunningServer(
            url="http://127.0.0.1:7878", pid=os.getpid()
        )
