from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.client.fake_server import FakeServer

from modelyard.client import Client
from modelyard.domain.operation import LogLine
from modelyard.errors import BuildFailed, InvalidRequest


@pytest.fixture(autouse=True)
def _model(yard: Client, project: Path) -> None:
    yard.models.register("digits", project / "model.pkl")


class TestBuild:
    def test_sends_code_and_requirements(
        self, yard: Client, server: FakeServer, project: Path
    ) -> None:
        (project / "lib").mkdir()
        (project / "lib" / "a.py").touch()
        image = yard.images.build(
            "digits",
            models=[yard.models.get("digits")],
            script=project / "score.py",
            files=[project / "lib"],
            requirements=project / "requirements.txt",
            sample=[[1]],
        )
        assert (image.reference, image.models) == ("digits:1", ("digits:1",))
        body = json.loads(server.asked("POST", "/api/v1/images")[0].content)
        assert [file["path"] for file in body["files"]] == ["score.py", "lib/a.py"]
        assert (body["script"], body["sample"]) == ("score.py", [[1]])
        assert body["requirements"] == ["scikit-learn==1.9.1"]

    def test_requirements_may_be_lines(
        self, yard: Client, server: FakeServer, project: Path
    ) -> None:
        image = yard.images.build(
            "digits", models=["digits"], script=project / "score.py", requirements=["numpy>=2"]
        )
        assert image.requirements == ("numpy>=2",)

    def test_waits_with_the_log(self, yard: Client, project: Path) -> None:
        lines: list[LogLine] = []
        yard.images.build(
            "digits", models=["digits"], script=project / "score.py", on_log=lines.append
        )
        assert [line.text for line in lines] == ["resolving", "starting"]

    def test_need_not_wait(self, yard: Client, server: FakeServer, project: Path) -> None:
        server.build_error = BuildFailed("no")
        image = yard.images.build(
            "digits", models=["digits"], script=project / "score.py", wait=False
        )
        assert image.state == "Running"

    def test_failure_carries_the_cause(
        self, yard: Client, server: FakeServer, project: Path
    ) -> None:
        cause = {"code": "init_raised", "message": "init() raised"}
        server.build_error = BuildFailed("image `digits:1` failed", details={"cause": cause})
        with pytest.raises(BuildFailed) as caught:
            yard.images.build("digits", models=["digits"], script=project / "score.py")
        assert caught.value.details["cause"] == cause

    def test_same_inputs_give_the_same_image(self, yard: Client, project: Path) -> None:
        first, second = (
            yard.images.build("digits", models=["digits"], script=project / "score.py")
            for _ in range(2)
        )
        assert first.reference == second.reference

    def test_missing_script_is_named_before_anything_is_sent(
        self, yard: Client, server: FakeServer, project: Path
    ) -> None:
        before = len(server.requests)
        with pytest.raises(InvalidRequest, match=r"sc0re\.py"):
            yard.images.build("digits", models=["digits"], script=project / "sc0re.py")
        assert len(server.requests) == before

    @pytest.mark.parametrize("content", [None, b"\xff\xfe"])
    def test_requirements_that_cannot_be_read_are_named(
        self, yard: Client, project: Path, content: bytes | None
    ) -> None:
        path = project / "other.txt"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InvalidRequest, match=r"cannot read the requirements `.*other\.txt`"):
            yard.images.build(
                "digits", models=["digits"], script=project / "score.py", requirements=path
            )


class TestOneImage:
    def test_log_labels_delete(self, yard: Client, project: Path) -> None:
        yard.images.build("digits", models=["digits"], script=project / "score.py")
        assert [line.text for line in yard.images.log("digits:1")] == ["resolving", "starting"]
        assert yard.images.add_tags("digits:1", {"a": "b"}).tags == {"a": "b"}
        yard.images.delete("digits:1")

    def test_code_files_are_known_by_their_digests(self, yard: Client, project: Path) -> None:
        image = yard.images.build("digits", models=["digits"], script=project / "score.py")
        assert list(yard.images.code_digests(image)) == ["score.py"]
