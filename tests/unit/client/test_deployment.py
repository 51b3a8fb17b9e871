from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.deploying import deploy
from tests.unit.client.fake_server import FakeServer

from modelyard.client import Action, Client, Deployed
from modelyard.domain.build import BuildOptions
from modelyard.domain.service_file import ModelSource
from modelyard.errors import BuildFailed, Conflict, DeployFailed, InvalidRequest, NotFound


def actions(done: Deployed) -> dict[str, Action]:
    return {step.kind: step.action for step in done.steps}


FIRST = {"model": Action.REGISTER, "image": Action.BUILD, "service": Action.DEPLOY}
NOTHING = {"model": Action.KEEP, "image": Action.KEEP, "service": Action.KEEP}


def writes(server: FakeServer) -> int:
    return sum(request.method != "GET" for request in server.requests)


class TestFirstTime:
    def test_does_everything(self, yard: Client, project: Path) -> None:
        done = deploy(yard, project, replicas=2, memory="2GiB", tags={"team": "x"})
        assert actions(done) == FIRST
        assert done.changed
        assert done.service is not None
        assert (done.service.image, done.service.models) == ("digits:1", ("digits:1",))
        assert (done.service.settings.replicas, done.service.settings.memory) == (2, 2 << 30)
        assert done.service.tags == {"team": "x"}

    def test_plan_does_nothing(self, yard: Client, server: FakeServer, project: Path) -> None:
        done = deploy(yard, project, plan=True)
        assert actions(done) == FIRST
        assert done.service is None
        assert writes(server) == 0

    def test_local_slips_cost_no_upload(
        self, yard: Client, server: FakeServer, project: Path
    ) -> None:
        (project / "requirements.txt").write_text("-e git+https://example.org/x")
        with pytest.raises(InvalidRequest):
            deploy(yard, project)
        with pytest.raises(InvalidRequest, match=r"missing\.py"):
            deploy(yard, project, requirements=None, files=[project / "missing.py"])
        assert server.requests == []

    def test_steps_are_told_as_they_are_done(self, yard: Client, project: Path) -> None:
        told: list[str] = []
        lines: list[str] = []
        deploy(
            yard,
            project,
            on_step=lambda step: told.append(f"{step.action} {step.reference}"),
            on_log=lambda line: lines.append(line.text),
        )
        assert told == ["register digits:1", "build digits:1", "deploy None"]
        assert lines == ["resolving", "starting"] * 2

    def test_failed_build_deploys_nothing(
        self, yard: Client, server: FakeServer, project: Path
    ) -> None:
        server.build_error = BuildFailed("no")
        with pytest.raises(BuildFailed):
            deploy(yard, project)
        assert server.services == {}

    def test_registered_model(self, yard: Client, project: Path) -> None:
        model = yard.models.register("iris", project / "model.pkl")
        for given in (model, "iris:1", ModelSource(reference="iris")):
            done = deploy(yard, project, model=given)
            assert done.steps[0].reference == "iris:1"
            assert done.steps[0].action is Action.KEEP

    def test_registered_model_that_is_not(self, yard: Client, project: Path) -> None:
        with pytest.raises(NotFound):
            deploy(yard, project, model="iris:1")

    def test_several_models(self, yard: Client, project: Path) -> None:
        (project / "encoder.pkl").write_bytes(b"e")
        sources = [
            ModelSource(name="digits", path=str(project / "model.pkl")),
            ModelSource(name="encoder", path=str(project / "encoder.pkl"), tags={"a": "b"}),
        ]
        done = deploy(yard, project, model=None, models=sources)
        assert done.service is not None
        assert done.service.models == ("digits:1", "encoder:1")
        assert yard.models.get("encoder").tags == {"a": "b"}

    def test_several_models_need_names(self, yard: Client, project: Path) -> None:
        path = str(project / "model.pkl")
        with pytest.raises(InvalidRequest, match="each of several models needs a `name`"):
            deploy(yard, project, model=None, models=[path, path])


class TestBuildOptions:
    def test_are_those_of_the_image(self, yard: Client, server: FakeServer, project: Path) -> None:
        done = deploy(yard, project, slim=True, platform="linux/arm64")
        assert done.service is not None
        image = yard.images.get(done.service.image)
        assert image.options == BuildOptions(slim=True, platform="linux/arm64")
        sent = server.sent("/images")
        assert (sent["slim"], sent["platform"]) == (True, "linux/arm64")
        assert not {"allow_sources", "optimize"} & sent.keys()

    def test_that_differ_make_another_image(self, yard: Client, project: Path) -> None:
        deploy(yard, project, allow_sources=True)
        assert actions(deploy(yard, project, allow_sources=True)) == NOTHING
        assert actions(deploy(yard, project, allow_sources=True, plan=True)) == NOTHING
        for plan in (True, False):
            done = deploy(yard, project, plan=plan)
            assert (actions(done)["image"], actions(done)["service"]) == (
                Action.BUILD,
                Action.UPDATE,
            )

    def test_a_script_is_not_optimized(
        self, yard: Client, server: FakeServer, project: Path
    ) -> None:
        with pytest.raises(InvalidRequest, match="without a `script`"):
            deploy(yard, project, optimize=True)
        assert server.requests == []


class TestAgain:
    @pytest.fixture(autouse=True)
    def _deployed(self, yard: Client, server: FakeServer, project: Path) -> None:
        deploy(yard, project, replicas=2, description="first")
        server.requests.clear()

    def test_does_nothing(self, yard: Client, project: Path) -> None:
        done = deploy(yard, project, replicas=2)
        assert actions(done) == NOTHING
        assert not done.changed

    def test_plan_sees_that(self, yard: Client, server: FakeServer, project: Path) -> None:
        assert actions(deploy(yard, project, plan=True)) == NOTHING
        assert writes(server) == 0

    def test_new_model_bytes_change_everything_above(self, yard: Client, project: Path) -> None:
        (project / "model.pkl").write_bytes(b"\x80\x04MODEL")
        planned = deploy(yard, project, plan=True)
        done = deploy(yard, project)
        assert actions(planned) == actions(done)
        assert [step.changes for step in done.steps] == [
            ("model.pkl differs",),
            (),
            ("image digits:1 → digits:2",),
        ]
        assert planned.steps[2].changes == ("image digits:1 → the new one",)
        assert done.service is not None
        assert done.service.models == ("digits:1",)  # the fake keeps what was first deployed

    def test_new_code_keeps_the_model(self, yard: Client, project: Path) -> None:
        (project / "score.py").write_text("def run(data):\n    return [data]\n")
        expected = {"model": Action.KEEP, "image": Action.BUILD, "service": Action.UPDATE}
        assert actions(deploy(yard, project, plan=True)) == expected
        assert actions(deploy(yard, project)) == expected

    def test_new_requirements_keep_the_model(self, yard: Client, project: Path) -> None:
        (project / "requirements.txt").write_text("scikit-learn\n")
        expected = {"model": Action.KEEP, "image": Action.BUILD, "service": Action.UPDATE}
        assert actions(deploy(yard, project, plan=True)) == expected

    def test_new_sample_is_checked(self, yard: Client, project: Path) -> None:
        planned = deploy(yard, project, sample=[[7]], plan=True)
        assert actions(planned)["image"] is Action.BUILD

    def test_the_sample_of_the_model_counts(self, yard: Client, project: Path) -> None:
        source = ModelSource(name="iris", path=str(project / "model.pkl"), sample_input=[[3]])
        deploy(yard, project, model=source, image="other")
        done = deploy(yard, project, model=source, image="other", plan=True)
        assert actions(done)["image"] is Action.KEEP

    def test_what_is_not_said_stays(self, yard: Client, project: Path) -> None:
        done = deploy(yard, project, memory="3GiB")
        assert done.service is not None
        assert done.service.settings.replicas == 2
        assert done.service.description == "first"
        assert done.steps[2].changes == (f"memory {1 << 30} → {3 << 30}",)

    def test_environment_values_are_not_shown(self, yard: Client, project: Path) -> None:
        done = deploy(yard, project, environment={"PASSWORD": "secret"}, plan=True)
        assert done.steps[2].changes == ("environment",)

    def test_labels_alone_restart_nothing(
        self, yard: Client, server: FakeServer, project: Path
    ) -> None:
        done = deploy(yard, project, tags={"a": "b"}, properties={"p": "q"}, description="new")
        assert done.steps[2].changes == ("description", "tags", "properties")
        assert done.service is not None
        assert (done.service.tags, done.service.properties) == ({"a": "b"}, {"p": "q"})
        assert server.asked("PATCH", "/api/v1/services/digits") == []

    def test_a_canary_of_the_file_is_for_what_replaces_replicas(
        self, yard: Client, server: FakeServer, project: Path
    ) -> None:
        text = "name: digits\nmodel: model.pkl\nscript: score.py\nrequirements: requirements.txt\n"
        file = project / "service.yaml"
        canary = "canary: {steps: [10%, 50%], step_time: 10m}\n"
        for settings in ("{replicas: 5}", "{memory: 3GiB}"):
            file.write_text(f"{text}settings: {settings}\n{canary}")
            yard.deploy_file(file)
        scaled, enlarged = (
            json.loads(request.content)
            for request in server.asked("PATCH", "/api/v1/services/digits")
        )
        assert "canary" not in scaled
        assert enlarged["canary"] == {"steps": [10, 50], "step_time": 600.0}

    def test_not_ready_is_told(self, yard: Client, server: FakeServer, project: Path) -> None:
        server.services["digits"]["status"] = {"state": "Failed"}
        server.cause = {"code": "init_raised", "message": "init() raised", "fix": "mend it"}
        with pytest.raises(DeployFailed, match=r"nothing differs.*init\(\) raised") as caught:
            deploy(yard, project)
        assert caught.value.hint == "mend it"

    def test_replicas_on_their_way_are_waited_for(
        self, yard: Client, server: FakeServer, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        states = iter(("Transitioning", "Healthy"))
        server.services["digits"]["status"] = {"state": "Transitioning"}
        monkeypatch.setattr(
            "modelyard.client.services.time.sleep",
            lambda _: server.services["digits"].update(status={"state": next(states)}),
        )
        done = deploy(yard, project)
        assert done.service is not None
        assert done.service.status.state == "Healthy"
        assert next(states, None) is None

    def test_a_change_on_its_way_is_waited_for(
        self, yard: Client, server: FakeServer, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operation = server._operation("service.update", "service digits", None)
        operation["state"] = "Running"
        waited: list[str] = []
        monkeypatch.setattr(
            yard.operations, "wait", lambda found, **_: waited.append(str(found)), raising=True
        )
        yard.services.wait = lambda *_: None  # type: ignore[method-assign,assignment]
        yard.images.wait = lambda accepted, _: accepted.image  # type: ignore[method-assign]
        deploy(yard, project)
        assert waited == [operation["id"]]

    def test_another_target_is_refused(self, yard: Client, project: Path) -> None:
        with pytest.raises(InvalidRequest, match="runs on `local`, not `edge`"):
            deploy(yard, project, target="edge", plan=True)


class TestModelFiles:
    def test_every_difference_is_named(self, yard: Client, tmp_path: Path, project: Path) -> None:
        folder = tmp_path / "model"
        folder.mkdir()
        for name in ("same", "longer", "other", "gone"):
            (folder / name).write_text(name)
        deploy(yard, project, model=folder)
        (folder / "longer").write_text("longer than before")
        (folder / "other").write_text("rehto")
        (folder / "gone").unlink()
        (folder / "new").touch()
        done = deploy(yard, project, model=folder, plan=True)
        assert done.steps[0].changes == (
            "gone is gone",
            "longer differs",
            "new is new",
            "other differs",
        )


def test_without_a_script(yard: Client, server: FakeServer, project: Path) -> None:
    alone: dict[str, Any] = {"script": None, "requirements": None}
    assert actions(deploy(yard, project, **alone)) == FIRST
    body = json.loads(server.asked("POST", "/api/v1/images")[0].content)
    assert (body.get("script"), body.get("files")) == (None, [])
    assert actions(deploy(yard, project, **alone)) == NOTHING
    assert actions(deploy(yard, project, **alone, plan=True)) == NOTHING
    changed = deploy(yard, project, plan=True)
    assert actions(changed)["image"] is Action.BUILD


class TestFile:
    def test_paths_are_relative_to_it(
        self, yard: Client, server: FakeServer, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (project / "service.yaml").write_text(
            "name: digits\nmodel: model.pkl\nscript: score.py\nrequirements: requirements.txt\n"
            "sample: [[1, 2]]\nsettings: {replicas: 2, memory: 2GiB}\n"
        )
        monkeypatch.chdir("/")
        done = yard.deploy_file(project / "service.yaml")
        assert actions(done) == FIRST
        body = json.loads(server.asked("POST", "/api/v1/images")[0].content)
        assert body["sample"] == [[1, 2]]
        assert actions(yard.deploy_file(project / "service.yaml")) == NOTHING

    def test_missing(self, yard: Client, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match=r"cannot read `.*service\.yaml`"):
            yard.deploy_file(tmp_path / "service.yaml")


class TestSplit:
    @pytest.fixture(autouse=True)
    def _images(self, yard: Client, server: FakeServer, project: Path) -> None:
        for answer in "ab":
            (project / "score.py").write_text(f"def run(data):\n    return {answer!r}\n")
            yard.images.build("digits", models=[], script=project / "score.py")
        server.requests.clear()

    @pytest.fixture
    def apply(self, yard: Client, tmp_path: Path) -> Callable[..., Deployed]:
        def apply(split: str, rest: str = "", *, plan: bool = False) -> Deployed:
            file = tmp_path / "split.yaml"
            file.write_text(f"name: digits\nsplit: {split}\n{rest}")
            return yard.deploy_file(file, plan=plan)

        return apply

    def test_there_and_on_and_back(
        self, yard: Client, server: FakeServer, apply: Callable[..., Deployed]
    ) -> None:
        first = "{digits:1: 20%, digits:2: 80%}"
        planned = apply(first, plan=True)
        assert (planned.service, writes(server)) == (None, 0)
        done = apply(first, "settings: {replicas: 5}\n")
        assert [(step.action, step.reference) for step in done.steps] == [
            (Action.KEEP, "digits:1"),
            (Action.KEEP, "digits:2"),
            (Action.DEPLOY, None),
        ]
        assert server.sent("/services")["image"] == "digits:2"
        assert server.sent("/split")["shares"] == {"digits:1": 20, "digits:2": 80}

        before = writes(server)
        assert not apply(first, "settings: {replicas: 5}\n").changed
        assert not apply("{digits:2: 80, digits:1: 20}").changed
        assert writes(server) == before

        other, settings = "{digits:1: 50%, digits:2: 50%}", "settings: {memory: 3GiB}\n"
        planned = apply(other, settings, plan=True)
        assert writes(server) == before
        changes = apply(other, settings).steps[-1].changes
        assert changes == planned.steps[-1].changes
        assert changes == (
            "traffic digits:1 20 %, digits:2 80 % → digits:1 50 %, digits:2 50 %",
            f"memory {1 << 30} → {3 << 30}",
        )
        assert writes(server) == before + 1
        assert server.sent("/split")["settings"] == {"memory": 3 << 30}

        apply(other, "settings: {memory: 4GiB}\n")
        (alone,) = server.asked("PATCH", "/api/v1/services/digits")
        assert json.loads(alone.content) == {"settings": {"memory": 4 << 30}}

        changes = apply("{digits:2: 100%}").steps[-1].changes
        assert changes == ("traffic digits:1 50 %, digits:2 50 % → digits:2",)
        assert not apply("{digits:2: 100%}").changed

    def test_an_image_that_is_not_there_or_not_built_changes_nothing(
        self, server: FakeServer, apply: Callable[..., Deployed]
    ) -> None:
        with pytest.raises(NotFound, match="digits:3"):
            apply("{digits:1: 90%, digits:3: 10%}", "tags: {a: b}")
        server.images["digits"][1] |= {"state": "Failed", "manifest": None}
        with pytest.raises(Conflict, match="`digits:2` is not built"):
            apply("{digits:1: 90%, digits:2: 10%}", "tags: {a: b}")
        assert writes(server) == 0

    def test_a_file_without_it_says_that_it_ends(
        self, yard: Client, project: Path, apply: Callable[..., Deployed]
    ) -> None:
        apply("{digits:1: 60%, digits:2: 40%}")
        planned = deploy(yard, project, plan=True)
        assert planned.steps[-1].changes == ("image digits:1 60 %, digits:2 40 % → the new one",)

    def test_the_shares_of_a_candidate_are_not_a_split(
        self, server: FakeServer, apply: Callable[..., Deployed]
    ) -> None:
        apply("{digits:1: 90%, digits:2: 10%}")
        service = server.services["digits"]
        candidate = service["deployments"][1]["id"]
        service["rollout"] = {"candidate": candidate, "generation": 1, "canary": {"steps": [10]}}
        planned = apply("{digits:1: 90%, digits:2: 10%}", plan=True)
        assert planned.steps[-1].changes == ("traffic digits:1 → digits:1 90 %, digits:2 10 %",)
