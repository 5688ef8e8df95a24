from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.model_registry import tracking_uri
from shared.places import Places
from tests.training.sample import MAX_LENGTH, sample_task
from training_pipeline.bootstrap import training_pipeline
from training_pipeline.encoder import load_tokenizer
from training_pipeline.evaluation.reliability import softmax
from training_pipeline.onnx_model import OnnxModel
from training_pipeline.progress import Silent
from training_pipeline.settings import TrainingSettings

# Nothing of the project can be imported there: it runs elsewhere.
PROGRAM = """
import json, sys
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/flights/" + sys.argv[2])
frame = pd.DataFrame({
    "text": ["flight 3 was  awful", "flight 4 was lovely"],
    "subject_activity__mentions_24h": [3.0, None],
})
answer = model.predict(frame)
print(json.dumps({
    "answer": answer.to_dict("list"),
    "modules": [name for name in sys.modules if name.startswith(("torch", "training_pipeline"))],
    "loaded": sys.modules["shared.text"].__file__,
}))
"""


@pytest.mark.filterwarnings("ignore")
def test_mlflow_loads_a_version(filled_home: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """MLflow's own loader answers as the exported file does, without torch or this project."""
    making = tmp_path / "making"
    making.mkdir()
    pipeline = training_pipeline(TrainingSettings(home=filled_home))
    task = sample_task(tiny_encoder)
    version = pipeline.run(task, folder=making, progress=Silent(), reason="a test").version
    address = tracking_uri(Places.embedded(filled_home))
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, address, version],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["modules"] == []
    assert "/code/shared/text.py" in told["loaded"]
    exported = OnnxModel(
        making / "model.onnx", load_tokenizer(tiny_encoder, MAX_LENGTH), max_length=MAX_LENGTH
    )
    features = np.full((2, 4), np.nan, dtype=np.float32)
    features[0, 0] = 3.0
    texts = ["flight 3 was awful", "flight 4 was lovely"]
    expected = softmax(exported.logits(texts, features, batch_size=1))
    for place, label in enumerate(task.labels):
        assert told["answer"][label] == pytest.approx(expected[:, place].tolist(), abs=1e-5)
    assert told["answer"]["label"] == [task.labels[i] for i in expected.argmax(axis=1)]
