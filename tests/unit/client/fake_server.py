"""A server in memory behind `httpx2.MockTransport`: enough of the REST interface for the SDK."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
from tests.factories import KEY, make_profile
from tests.replays import report, some

from modelyard.client import Client
from modelyard.client.connection import Address
from modelyard.domain.build import BuildOptions
from modelyard.errors import BY_CODE, InUse, ModelyardError, NotFound

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).isoformat()
LOAD = {
    "service": "digits",
    "asleep": False,
    "requests": 12.4,
    "errors": 0.5,
    "refused": 0.0,
    "p50": 0.004,
    "p99": 0.31,
    "in_flight": 3.0,
    "cpu": 0.752,
    "memory": 64 << 20,
    "replicas": 2.0,
    "ready": 1.0,
    "restarts": 4.0,
}
TOKEN = "token-of-tests"
SBOM = b'{\n "bomFormat": "CycloneDX"\n}'
GATEWAY = "http://127.0.0.1:7880"
STATUS = {"not_found": 404, "conflict": 409, "in_use": 409, "unauthenticated": 401}

Route = Callable[..., Any]


class FakeServer:
    """Keeps what it is told and counts what it is asked."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.models: dict[str, list[dict[str, Any]]] = {}
        self.images: dict[str, list[dict[str, Any]]] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.cause: dict[str, Any] | None = None
        self.load = dict(LOAD)
        self.history: list[dict[str, Any]] = []
        self.authority: str | None = None
        self.build_error: ModelyardError | None = None
        self.deploy_error: ModelyardError | None = None
        self.differing = 0
        """Requests of 99 that every replay finds to be answered otherwise."""
        self.spoiled = False
        """A layer of every image is gone."""
        self.used_models: set[str] = set()
        self.certificates: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self.channels: list[dict[str, Any]] = []
        self.log = [self._line(1, "resolving"), self._line(2, "starting")]
        self.requests: list[httpx2.Request] = []
        self.failures: list[Exception] = []
        """Raised instead of answers, one for each request, until none is left."""
        self.answer: Callable[[Any], Any] = lambda data: {"sum": sum(data)}
        self.stopped: bool | None = None
        self.breaks_archives = False
        """The connection ends in the middle of an archive."""
        self.containerfile = "Containerfile"
        """Name of the first file in the form `containerfile`."""
        self._inputs: dict[str, str] = {}

    def client(self) -> Client:
        return Client(Address("http://127.0.0.1:7878", TOKEN), httpx2.MockTransport(self.handle))

    def asked(self, method: str, pattern: str) -> list[httpx2.Request]:
        return [
            request
            for request in self.requests
            if request.method == method and re.fullmatch(pattern, request.url.path)
        ]

    def sent(self, path: str) -> Any:
        """The body of the last request to a path."""
        return json.loads(self.asked("POST", f".*{path}")[-1].content)

    def archive(self, form: str) -> bytes:
        """An image in one of its forms."""
        if form != "containerfile":
            return f"an image as {form}".encode() * 1000
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for name in (self.containerfile, "layers/00.tar"):
                member = tarfile.TarInfo(name)
                member.size = len(name)
                tar.addfile(member, io.BytesIO(name.encode()))
        return made.getvalue()

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self.failures:
            raise self.failures.pop(0)
        if request.url.host == "127.0.0.1" and request.url.port == 7880:
            return self._score(request)
        try:
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                raise BY_CODE["unauthenticated"]("the token is not known here")
            return self._route(request)
        except ModelyardError as error:
            return httpx2.Response(STATUS.get(error.code, 400), json=error.to_wire())

    def _route(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/api/v1")
        for method, pattern, route in self._routes():
            match = re.fullmatch(pattern, path)
            if method == request.method and match:
                answer = route(request, *match.groups())
                if isinstance(answer, httpx2.Response):
                    return answer
                return httpx2.Response(200, content=json.dumps(answer).encode())
        raise NotFound(f"there is no `{path}` here")

    def _routes(self) -> list[tuple[str, str, Route]]:
        version = r"/([^/]+)/versions/([^/]+)"
        return [
            ("GET", "/info", self._info),
            ("POST", "/server/stop", self._stop),
            ("POST", "/blobs", self._upload),
            ("GET", "/blobs/(.+)", self._download),
            ("POST", "/models", self._register),
            ("GET", "/models", lambda r: self._page(r, self.models)),
            ("GET", f"/models{version}", lambda r, n, v: self._version("model", n, v)),
            ("PATCH", f"/models{version}", lambda r, n, v: self._change(r, "model", n, v)),
            ("DELETE", f"/models{version}", self._delete_model),
            ("POST", "/images", self._build),
            ("GET", "/images", lambda r: self._page(r, self.images)),
            ("GET", "/images/packages", self._packages),
            ("GET", "/images/key", lambda r: KEY.public.model_dump(mode="json")),
            ("GET", f"/images{version}", lambda r, n, v: self._version("image", n, v)),
            ("PATCH", f"/images{version}", lambda r, n, v: self._change(r, "image", n, v)),
            ("DELETE", f"/images{version}", lambda r, n, v: httpx2.Response(204)),
            ("GET", f"/images{version}/verification", lambda r, n, v: self._verify()),
            ("GET", f"/images{version}/sbom", lambda r, n, v: httpx2.Response(200, content=SBOM)),
            ("GET", f"/images{version}/log", lambda r, n, v: self._logs(r)),
            ("POST", f"/images{version}/profiles", self._profile),
            ("POST", f"/images{version}/exports", self._export),
            ("GET", f"/images{version}/exports/(.+)", lambda r, n, v, form: self._archive(form)),
            ("POST", "/images/(imports|pulls)", self._arrive),
            ("POST", f"/images{version}/pushes", self._push),
            ("POST", "/services", self._deploy),
            ("GET", "/services", lambda r: {"items": list(self.services.values())}),
            ("GET", "/services/([^/]+)", lambda r, n: self._service(n)),
            ("PATCH", "/services/([^/]+)", self._update),
            ("POST", "/services/([^/]+)/split", self._split),
            ("POST", "/services/([^/]+)/replays", self._replay),
            ("POST", "/services/([^/]+)/(?:promote|rollback)", self._turn),
            ("PATCH", "/services/([^/]+)/labels", self._label_service),
            ("DELETE", "/services/([^/]+)", self._delete_service),
            ("GET", "/services/([^/]+)/keys", lambda r, n: self._keys(n)),
            ("POST", "/services/([^/]+)/keys/([a-z]+)/regenerate", self._regenerate),
            ("POST", "/services/([^/]+)/certificates", self._issue),
            ("GET", "/services/([^/]+)/certificates", lambda r, n: self.certificates),
            ("POST", "/services/([^/]+)/certificates/([^/]+)/revoke", self._revoke),
            ("GET", "/services/([^/]+)/logs", lambda r, n: self._logs(r)),
            ("GET", "/top", lambda r: [self.load]),
            ("GET", "/services/([^/]+)/metrics", self._metrics),
            ("GET", "/services/([^/]+)/history", lambda r, n: self._service(n) and self.history),
            ("GET", "/services/([^/]+)/why", lambda r, n: self._service(n) and self.cause),
            ("GET", "/alerts", lambda r: self.alerts),
            ("GET", "/alerts/channels", lambda r: self.channels),
            ("POST", "/alerts/channels", self._add_channel),
            ("DELETE", "/alerts/channels/([^/]+)", lambda r, n: httpx2.Response(204)),
            ("POST", "/alerts/channels/([^/]+)/test", self._try_channel),
            ("GET", "/operations", lambda r: {"items": list(self.operations.values())}),
            ("GET", "/operations/([^/]+)", lambda r, i: self.operations[i]),
            ("POST", "/operations/([^/]+)/cancel", lambda r, i: self.operations[i]),
            ("GET", "/operations/([^/]+)/log", lambda r, i: self._logs(r)),
        ]

    def _add_channel(self, request: httpx2.Request) -> Any:
        asked = json.loads(request.content)
        kind = "webhook" if "webhook" in asked else "email"
        address = "https://a.example/…" if kind == "webhook" else asked["email"]
        made = {"name": asked["name"], "kind": kind, "address": address, "created_at": NOW}
        self.channels.append(made)
        return {**made, "secret": "whsec_x" if kind == "webhook" else ""}

    def _try_channel(self, request: httpx2.Request, name: str) -> Any:
        known = any(channel["name"] == name for channel in self.channels)
        return {"channel": name, "delivered": known, "error": "" if known else "nobody is there"}

    def _info(self, request: httpx2.Request) -> Any:
        return {
            "version": "0.1.0",
            "workspace": "default",
            "principal": "owner",
            "gateway": GATEWAY,
            "authority": self.authority,
        }

    def _stop(self, request: httpx2.Request) -> Any:
        self.stopped = request.url.params["everything"] == "true"
        return httpx2.Response(202, json=None)

    def _upload(self, request: httpx2.Request) -> Any:
        digest = f"sha256:{hashlib.sha256(request.content).hexdigest()}"
        self.blobs[digest] = request.content
        return httpx2.Response(201, json={"digest": digest, "size": len(request.content)})

    def _download(self, request: httpx2.Request, digest: str) -> Any:
        content = self.blobs[digest]
        if "range" not in request.headers:
            return streamed(200, content)
        start = int(request.headers["range"].removeprefix("bytes=").rstrip("-"))
        return streamed(206, content[start:])

    def _register(self, request: httpx2.Request) -> Any:
        body = json.loads(request.content)
        versions = self.models.setdefault(body["name"], [])
        files = [file | {"size": len(self.blobs[file["digest"]])} for file in body.pop("files")]
        model = {**self._born(), "version": len(versions) + 1, "format": "pickle", **body}
        versions.append(model | {"files": files})
        return versions[-1]

    def _build(self, request: httpx2.Request) -> Any:
        body = json.loads(request.content)
        references = [self._reference("model", text) for text in body["models"]]
        options = {name: body[name] for name in BuildOptions.model_fields if name in body}
        inputs = json.dumps(
            [body.get("script"), body["files"], body.get("requirements"), references, options]
        )
        if inputs in self._inputs:
            name, version = self._inputs[inputs].split(":")
            image = self._version("image", name, version)
            operation = self.operations[image["operation"]]
            return {"image": image, "operation": operation, "reused": True}
        operation = self._operation("image.build", f"image {body['name']}", self.build_error)
        versions = self.images.setdefault(body["name"], [])
        failed = self.build_error is not None
        versions.append(
            {
                **self._born(),
                "name": body["name"],
                "version": len(versions) + 1,
                "state": "Failed" if failed else "Succeeded",
                "models": references,
                "script": body.get("script"),
                "requirements": body.get("requirements", []),
                "operation": operation["id"],
                "options": options,
                "manifest": self._manifest(body),
                "tags": body.get("tags", {}),
                "check": self._check(body),
            }
        )
        if not failed:
            self._inputs[inputs] = f"{body['name']}:{len(versions)}"
        running = versions[-1] | {"state": "Running"}
        return httpx2.Response(
            202, json={"image": running, "operation": operation, "reused": False}
        )

    def _packages(self, request: httpx2.Request) -> Any:
        asked = request.url.params
        uses = [
            {"package": "jinja2", "version": "3.1.3", "image": f"digits:{n}", "services": ["a"]}
            for n in (2, 1)
        ]
        if asked["requirement"] != "jinja2<3.1.4":
            return {"items": [], "next": None}
        return (
            {"items": uses[1:], "next": None}
            if "page" in asked
            else {"items": uses[:1], "next": "x"}
        )

    def _verify(self) -> httpx2.Response:
        wrong = {"model": "it is not stored"} if self.spoiled else {}
        parts = [
            {"part": f"layer {kind}", "digest": f"sha256:{0:064}", "problem": wrong.get(kind)}
            for kind in ("code", "model")
        ]
        return streamed(200, "".join(f"{json.dumps(part)}\n" for part in parts).encode())

    def _manifest(self, body: dict[str, Any]) -> Any:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            contents = {file["path"]: self.blobs[file["digest"]] for file in body["files"]}
            contents["__pycache__/score.cpython-311.pyc"] = b"compiled by the build"
            for path, content in contents.items():
                member = tarfile.TarInfo(f"opt/modelyard/code/{path}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        digest = f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}"
        self.blobs[digest] = buffer.getvalue()
        return {
            "platform": {"os": "linux", "architecture": "amd64"},
            "python": "3.11",
            "script": body.get("script"),
            "models": [],
            "lock": digest,
            "layers": [{"kind": "code", "digest": digest, "size": len(buffer.getvalue())}],
        }

    def _check(self, body: dict[str, Any]) -> Any:
        return {
            "workers": 2,
            "cold_start": 0.5,
            "memory": 1 << 27,
            "sample": body.get("sample") or self._own_sample(body["models"]),
            "checked_at": NOW,
        }

    def _own_sample(self, models: list[str]) -> Any:
        samples = [
            self._version("model", *self._reference("model", model).split(":")).get("sample_input")
            for model in models
        ]
        return next((sample for sample in samples if sample is not None), None)

    def _deploy(self, request: httpx2.Request) -> Any:
        body = json.loads(request.content)
        if body["name"] in self.services:
            raise BY_CODE["conflict"](f"service `{body['name']}` exists")
        image = self._reference("image", body["image"])
        settings = {"replicas": 1, **body.get("settings", {})}
        self.services[body["name"]] = {
            **self._born(),
            "target": body.get("target", "local"),
            "models": self._version("image", *image.split(":"))["models"],
            "generation": 1,
            "deployments": [],
            "status": {"state": "Healthy"},
            "scoring_uri": f"{GATEWAY}/services/{body['name']}/score",
            "swagger_uri": f"{GATEWAY}/services/{body['name']}/swagger.json",
            "updated_at": NOW,
            **body,
            "image": image,
            "settings": settings,
        }
        return self._accepted("service.deploy", body["name"])

    def _update(self, request: httpx2.Request, name: str) -> Any:
        body = json.loads(request.content)
        service = self._service(name)
        service["settings"] |= body.get("settings", {})
        if "image" in body:
            service["image"] = self._reference("image", body["image"])
        return self._accepted("service.update", name)

    def _split(self, request: httpx2.Request, name: str) -> Any:
        body = json.loads(request.content)
        service = self._service(name)
        service["settings"] |= body.get("settings", {})
        service["image"] = max(body["shares"], key=lambda image: body["shares"][image])
        service["deployments"] = [
            {
                "id": str(uuid4()),
                "image": self._reference("image", image),
                "digest": f"sha256:{0:064x}",
                "settings": {},
                "weight": weight,
                "generation": 1,
                "created_at": NOW,
            }
            for image, weight in body["shares"].items()
        ]
        return self._turn(request, name)

    def _turn(self, request: httpx2.Request, name: str) -> Any:
        self._service(name)
        return self._accepted("service.update", name)

    def _label_service(self, request: httpx2.Request, name: str) -> Any:
        return self._apply_labels(self._service(name), json.loads(request.content))

    def _delete_service(self, request: httpx2.Request, name: str) -> Any:
        self._service(name)
        del self.services[name]
        return httpx2.Response(202, json=self._operation("service.delete", f"service {name}", None))

    def _regenerate(self, request: httpx2.Request, name: str, slot: str) -> Any:
        self._service(name)[slot] = uuid4().hex
        return self._keys(name)

    def _issue(self, request: httpx2.Request, name: str) -> Any:
        asked = json.loads(request.content)
        self._service(name)
        assert "BEGIN CERTIFICATE REQUEST" in asked["request"]
        assert "PRIVATE" not in asked["request"]
        issued = {
            "serial": f"{len(self.certificates):x}",
            "client": asked["client"],
            "name": f"uri:modelyard://services/{name}/clients/{asked['client']}",
            "issued_at": NOW,
            "expires_at": NOW,
        }
        self.certificates.append(issued)
        return {**issued, "pem": "-----BEGIN CERTIFICATE-----\n"}

    def _revoke(self, request: httpx2.Request, name: str, which: str) -> Any:
        found = [one for one in self.certificates if which in (one["serial"], one["client"])]
        if not found:
            raise NotFound(f"`{name}` has no client certificate `{which}`")
        for one in found:
            one["revoked_at"] = NOW
        return found

    def _keys(self, name: str) -> Any:
        service = self._service(name)
        return {slot: service.get(slot, f"key-{slot}") for slot in ("primary", "secondary")}

    def _metrics(self, request: httpx2.Request, name: str) -> Any:
        begin = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
        points = [
            {**LOAD, "begins": (begin + timedelta(minutes=n)).isoformat(), "requests": rate}
            for n, rate in ((0, 4.0), (1, 8.0), (3, 2.0))
        ]
        step = float(request.url.params.get("step", 60))
        return {"service": self._service(name)["name"], "step": step, "points": points}

    def _delete_model(self, request: httpx2.Request, name: str, version: str) -> Any:
        model = self._version("model", name, version)
        reference = f"{name}:{model['version']}"
        if reference in self.used_models:
            raise InUse(f"model `{reference}` is in use", details={"users": ["image digits:1"]})
        self.models[name].remove(model)
        return httpx2.Response(204)

    def _change(self, request: httpx2.Request, kind: str, name: str, version: str) -> Any:
        return self._apply_labels(self._version(kind, name, version), json.loads(request.content))

    def _apply_labels(self, item: dict[str, Any], body: dict[str, Any]) -> Any:
        tags = body.get("tags", item.get("tags", {})) | body.get("add_tags", {})
        item["tags"] = {k: v for k, v in tags.items() if k not in body.get("remove_tags", ())}
        item["properties"] = item.get("properties", {}) | body.get("add_properties", {})
        item["description"] = body.get("description", item.get("description", ""))
        return item

    def _page(self, request: httpx2.Request, versions: dict[str, list[dict[str, Any]]]) -> Any:
        query = request.url.params
        found = [item for items in versions.values() for item in items]
        found = [item for item in found if query.get("name") in (None, item["name"])][::-1]
        start, limit = int(query.get("page", 0)), int(query["limit"])
        after = start + limit
        more = {"next": str(after)} if after < len(found) else {}
        return {"items": found[start:after], **more}

    def _version(self, kind: str, name: str, version: str) -> dict[str, Any]:
        versions = (self.models if kind == "model" else self.images).get(name, [])
        for item in reversed(versions):
            if version in ("latest", str(item["version"])):
                return item
        raise NotFound(f"{kind} `{name}:{version}` not found", hint=f"see `modelyard {kind} list`")

    def _reference(self, kind: str, text: str) -> str:
        name, _, version = text.partition(":")
        return f"{name}:{self._version(kind, name, version or 'latest')['version']}"

    def _service(self, name: str) -> dict[str, Any]:
        if name not in self.services:
            raise NotFound(f"service `{name}` not found", hint="see `modelyard service list`")
        return self.services[name]

    def _accepted(self, kind: str, name: str) -> Any:
        operation = self._operation(kind, f"service {name}", self.deploy_error)
        return httpx2.Response(202, json={"service": self.services[name], "operation": operation})

    def _profile(self, request: httpx2.Request, name: str, version: str) -> Any:
        image = self._version("image", name, version)
        operation = self._operation("image.profile", f"image {name}:{image['version']}", None)
        operation["result"] = make_profile(f"{name}:{image['version']}").model_dump(mode="json")
        return httpx2.Response(202, json=operation)

    def _replay(self, request: httpx2.Request, name: str) -> Any:
        operation = self._operation("image.replay", "image digits:2", None)
        wanted = json.loads(request.content)
        findings = some(99 - self.differing, self.differing)
        found = report(findings, service=name, max_diff=wanted["max_diff"])
        result = found.model_copy(update={"id": UUID(operation["id"])}).model_dump(mode="json")
        operation["result"] = result
        return httpx2.Response(202, json=operation)

    def _export(self, request: httpx2.Request, name: str, version: str) -> Any:
        image = self._version("image", name, version)
        operation = self._operation("image.export", f"image {name}:{image['version']}", None)
        return httpx2.Response(202, json=operation)

    def _archive(self, form: str) -> httpx2.Response:
        body = self.archive(form)

        def chunks() -> Iterator[bytes]:
            yield body[:100]
            if self.breaks_archives:
                raise httpx2.ReadError("reset")
            yield body[100:]

        headers = {"Content-Length": str(len(body))}
        return httpx2.Response(200, headers=headers, content=chunks())

    def _arrive(self, request: httpx2.Request, how: str) -> Any:
        operation = self._operation(f"image.{how.removesuffix('s')}", "image", None)
        operation["result"] = {"image": "digits:1", "reused": False}
        return httpx2.Response(202, json=operation)

    def _push(self, request: httpx2.Request, name: str, version: str) -> Any:
        image = self._version("image", name, version)
        reference = f"{name}:{image['version']}"
        operation = self._operation("image.push", f"image {reference}", None)
        operation["result"] = {
            "image": reference,
            "to": json.loads(request.content)["to"],
            "digest": f"sha256:{'d' * 64}",
            "uploaded": 2048,
            "size": 4096,
        }
        return httpx2.Response(202, json=operation)

    def _operation(self, kind: str, resource: str, error: ModelyardError | None) -> dict[str, Any]:
        operation = {
            **self._born(),
            "kind": kind,
            "state": "Succeeded" if error is None else "Failed",
            "resource": resource,
            "error": None if error is None else error.to_wire(),
            "updated_at": NOW,
        }
        self.operations[operation["id"]] = operation
        return operation

    def _logs(self, request: httpx2.Request) -> httpx2.Response:
        after = int(request.url.params.get("after", 0))
        lines = [line for line in self.log if line["sequence"] > after]
        wanted = request.url.params.get("request")
        lines = [line for line in lines if wanted in (None, line.get("request", ""))]
        tail = request.url.params.get("tail")
        lines = lines if tail is None else lines[-int(tail) :]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        return streamed(200, text.encode())

    def _score(self, request: httpx2.Request) -> httpx2.Response:
        name = request.url.path.split("/")[2]
        key = self._keys(name)["primary"]
        if request.headers.get("authorization") != f"Bearer {key}":
            return httpx2.Response(401, json={"message": "the key is not valid"})
        answer = self.answer(json.loads(request.content))
        return answer if isinstance(answer, httpx2.Response) else httpx2.Response(200, json=answer)

    @staticmethod
    def _line(sequence: int, text: str) -> dict[str, Any]:
        return {"sequence": sequence, "time": NOW, "source": "build", "text": text}

    @staticmethod
    def _born() -> dict[str, Any]:
        return {
            "id": str(uuid4()),
            "workspace": "default",
            "created_at": NOW,
            "created_by": "owner",
        }


def streamed(status: int, content: bytes) -> httpx2.Response:
    """An answer that is read piece by piece."""
    return httpx2.Response(status, stream=httpx2.ByteStream(content))
