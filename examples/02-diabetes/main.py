"""The same loop from Python: register, build, deploy, score, find, update, clean up."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from pathlib import Path

from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

import modelyard

HERE = Path(__file__).parent


def demo(folder: Path) -> None:
    """The loop."""
    rows, progression = load_diabetes(return_X_y=True)
    model_file = folder / "diabetes.pkl"
    model_file.write_bytes(pickle.dumps(Ridge(alpha=0.1).fit(rows, progression)))
    sample = {"rows": rows[:2].tolist()}

    with modelyard.connect() as yard:
        model = yard.models.register(
            "diabetes",
            model_file,
            tags={"alpha": "0.1"},
            framework="scikit-learn",
            sample_input=sample,
        )
        print("registered", model.reference, "format", model.format)

        image = yard.images.build(
            "diabetes",
            models=[model.reference],
            script=HERE / "score.py",
            requirements=HERE / "requirements.txt",
        )
        print("built", image.reference, "its check answered", image.check and image.check.answer)

        service = yard.services.deploy("diabetes", image.reference, replicas=1)
        print("deployed at", service.scoring_uri)
        print("answer", yard.services.score("diabetes", sample))

        model_file.write_bytes(pickle.dumps(Ridge(alpha=1.0).fit(rows, progression)))
        newer = yard.models.register(
            "diabetes", model_file, tags={"alpha": "1.0"}, sample_input=sample
        )
        found = yard.models.search(tag=["alpha=1.0"])
        print("found by tag", [model.reference for model in found])
        image = yard.images.build(
            "diabetes",
            models=[newer.reference],
            script=HERE / "score.py",
            requirements=HERE / "requirements.txt",
        )
        yard.services.update("diabetes", image=image.reference)
        print("answer after the update", yard.services.score("diabetes", sample))
        try:
            yard.models.delete(newer.reference)
        except modelyard.InUse as refusal:
            print("refused:", refusal)
        yard.services.delete("diabetes")
        yard.stop_server(everything=True)


def main() -> None:
    """Run in a home folder and on ports of our own."""
    folder = Path(tempfile.mkdtemp(prefix="modelyard-diabetes-"))
    os.environ |= {
        "MODELYARD_HOME": str(folder / "home"),
        "MODELYARD_SERVER_PORT": "0",
        "MODELYARD_GATEWAY_PORT": "0",
    }
    try:
        demo(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
