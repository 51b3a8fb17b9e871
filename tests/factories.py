"""Things to test with: plain functions that put something valid into a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.domain.image import (
    CheckReport,
    Image,
    Layer,
    LayerKind,
    Manifest,
    ModelMount,
    Package,
    Platform,
)
from modelyard.domain.model import Model, ModelFile, ModelFormat
from modelyard.domain.operation import OperationKind
from modelyard.domain.profile import Goal, Level, Machine, Profile, recommend
from modelyard.domain.service import Service, ServiceSettings
from modelyard.images.signing import SigningKey
from modelyard.schemas import BuildImage, DeployService, FileReference, RegisterModel
from modelyard.store import Transaction

WORKSPACE = "default"
OWNER = "owner"
AGENT = "local"
KEY = SigningKey.generate()


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def add_blob(tx: Transaction, text: str = "bytes", lease: timedelta = timedelta(hours=1)) -> str:
    tx.blobs.record(digest_of(text), len(text), datetime.now(UTC) + lease)
    return digest_of(text)


def add_model(
    tx: Transaction,
    name: str = "iris",
    *,
    content: str = "bytes",
    framework: str | None = None,
    workspace: str = WORKSPACE,
    **fields: Any,
) -> Model:
    digest = add_blob(tx, content)
    request = RegisterModel(
        name=name, files=(FileReference(path="model.pkl", digest=digest),), **fields
    )
    return tx.models.add(
        workspace,
        request,
        files=[ModelFile(path="model.pkl", digest=digest, size=len(content))],
        format=ModelFormat.PICKLE,
        framework=framework,
        created_by=OWNER,
    )


def add_running_image(
    tx: Transaction,
    name: str = "digits",
    *,
    models: Sequence[Model] = (),
    inputs: str = "inputs",
    script: str = "score.py",
    workspace: str = WORKSPACE,
    **fields: Any,
) -> Image:
    request = BuildImage(
        name=name,
        models=tuple(model.reference for model in models),
        script=script,
        files=(FileReference(path=script, digest=add_blob(tx, script)),),
        **fields,
    )
    operation = tx.operations.add(workspace, OperationKind.IMAGE_BUILD, f"image {name}", OWNER)
    return tx.images.add(workspace, request, models, inputs, operation.id, OWNER)


def make_manifest(models: Sequence[Model] = (), layer: str = "layer") -> Manifest:
    return Manifest(
        platform=Platform(os="linux", architecture="amd64"),
        python="3.11",
        script="score.py",
        models=tuple(
            ModelMount(name=model.name, version=model.version, path=f"{model.name}/{model.version}")
            for model in models
        ),
        lock=digest_of("lock"),
        layers=tuple(
            Layer(kind=kind, digest=digest_of(f"{layer} {kind}"), size=10) for kind in LayerKind
        ),
    )


def add_image(
    tx: Transaction, name: str = "digits", *, models: Sequence[Model] = (), **fields: Any
) -> Image:
    image = add_running_image(tx, name, models=models, **fields)
    return finish_image(tx, image, models)


def finish_image(
    tx: Transaction,
    image: Image,
    models: Sequence[Model] = (),
    report: CheckReport | None = None,
) -> Image:
    packages = [Package(name="numpy", version="2.0")]
    manifest = make_manifest(models, f"{image.reference}")
    return tx.images.succeed(image.id, manifest, KEY.sign(manifest.digest), packages, report)


def make_level(concurrency: int, rate: float, p95: float = 0.01, **changes: object) -> Level:
    fields = {
        "concurrency": concurrency,
        "answered": round(rate * 2),
        "errors": 0,
        "seconds": 2.0,
        "p50": p95 / 2,
        "p95": p95,
        "p99": p95,
        "cpu": 0.001,
        "memory": 1 << 20,
        "generator": 0.1,
        "others": 0.0,
    }
    return Level.model_validate(fields | changes)


def make_profile(image: str = "iris:1", goal: Goal | None = None) -> Profile:
    goal = goal or Goal(latency=0.02)
    levels = (make_level(1, 100), make_level(2, 180, 0.011), make_level(4, 190, 0.021))
    return Profile(
        image=image,
        digest=digest_of(image),
        cpu=1.0,
        workers=1,
        goal=goal,
        machine=Machine(cores=4, platform="Linux x86_64", shared=False),
        levels=levels,
        recommendation=recommend(levels, goal, 1.0, 4),
        measured_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    )


def add_service(
    tx: Transaction, name: str = "digits", image: Image | None = None, **fields: Any
) -> Service:
    tx.agents.ensure(WORKSPACE, AGENT)
    image = image or add_image(tx)
    request = DeployService(
        name=name,
        image=image.reference,
        settings=fields.pop("settings", ServiceSettings()),
        **fields,
    )
    return tx.services.add(WORKSPACE, request, AGENT, image, OWNER)
