from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.factories import make_profile
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_server import FakeServer

from modelyard.cli.curve import as_html, as_svg, as_text
from modelyard.client.operations import Operations
from modelyard.domain.profile import Goal


@pytest.fixture(autouse=True)
def _image(deployed: None) -> None:
    pass


class TestProfile:
    def test_prints_levels_curve_and_advice(self, run: Run) -> None:
        result = run("profile", "digits:1", "--latency", "20ms")
        lines = result.stdout.splitlines()
        assert lines[0].split("  ")[0] == "IN FLIGHT"
        assert lines[1].split() == [
            *("1", "100", "5", "ms", "10", "ms", "10", "ms", "1", "ms", "1.0", "MiB", "0")
        ]
        assert any(line.endswith("<- recommended") for line in lines)
        assert "max_concurrent_requests  2" in result.stdout

    def test_sends_what_it_is_told(self, run: Run, server: FakeServer, tmp_path: Path) -> None:
        (tmp_path / "sample.json").write_text("[[1]]")
        options = ("--latency", "50ms", "--rate", "500", "--cpu", "2", "--duration", "1s")
        run("profile", "digits:1", "--sample", f"@{tmp_path / 'sample.json'}", *options)
        (request,) = server.asked("POST", ".*/profiles")
        assert json.loads(request.content) == {
            "sample": [[1]],
            "latency": 0.05,
            "rate": 500.0,
            "cpu": 2.0,
            "duration": 1.0,
            "max_concurrency": 64,
            "network": "none",
        }

    def test_json_has_the_rate_of_every_level(self, run_json: Callable[..., Any]) -> None:
        levels = run_json("profile", "digits:1")["levels"]
        assert [level["rate"] for level in levels] == [100, 180, 190]

    def test_a_goal_without_a_unit_is_refused(self, run: Run) -> None:
        assert "write a duration" in run("profile", "digits:1", "--latency", "50", code=1).stderr

    def test_draws_a_file(self, run: Run, tmp_path: Path) -> None:
        run("profile", "digits:1", "--plot", str(tmp_path / "curve.svg"))
        assert (tmp_path / "curve.svg").read_text().startswith("<svg ")

    def test_a_drawing_of_another_kind_is_refused_before_anything_is_measured(
        self, run: Run, server: FakeServer
    ) -> None:
        run("profile", "digits:1", "--plot", "curve.png", code=2)
        assert server.asked("POST", ".*/profiles") == []

    def test_a_folder_that_is_not_there_is_refused_before_anything_is_measured(
        self, run: Run, server: FakeServer, tmp_path: Path
    ) -> None:
        plot = tmp_path / "missing" / "curve.svg"
        assert (
            "there is no folder" in run("profile", "digits:1", "--plot", str(plot), code=2).stderr
        )
        assert server.asked("POST", ".*/profiles") == []

    def test_the_table_is_printed_even_if_the_file_cannot_be_written(
        self, run: Run, tmp_path: Path
    ) -> None:
        (tmp_path / "curve.svg").mkdir()
        result = run("profile", "digits:1", "--plot", str(tmp_path / "curve.svg"), code=1)
        assert "IN FLIGHT" in result.stdout
        assert "cannot write" in result.stderr

    def test_an_interrupt_cancels_it(
        self, run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Operations, "_log", interrupt)
        result = run("profile", "digits:1", code=130)
        assert len(server.asked("POST", "/api/v1/operations/.*/cancel")) == 1
        assert result.stderr.splitlines()[-2:] == ["interrupted", "the profile was ended"]


class TestCurve:
    def test_bars_are_as_long_as_the_rate(self) -> None:
        bars = [line.count("#") for line in as_text(make_profile()).splitlines()]
        assert bars == [21, 38, 40]

    def test_the_drawing_is_xml_with_a_dot_for_every_level(self) -> None:
        root = ElementTree.fromstring(as_svg(make_profile()))
        kinds = [each.get("class") for each in root.iter()]
        assert kinds.count("dot") == 3
        assert kinds.count("chosen") == 1
        assert kinds.count("goal") == 1

    def test_everything_is_inside_the_frame(self) -> None:
        root = ElementTree.fromstring(as_svg(make_profile(goal=Goal(latency=3))))
        for dot in root.iter("{http://www.w3.org/2000/svg}circle"):
            assert 0 < float(dot.get("cx", "")) < 720
            assert 0 < float(dot.get("cy", "")) < 420

    def test_names_cannot_bring_markup(self) -> None:
        page = as_html(make_profile("<script>alert(1)</script>"))
        assert "<script>" not in page
