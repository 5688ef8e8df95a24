"""The flavor: what MLflow needs beside a version's files to load it as a python function."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from pathlib import Path

from shared import text

CODE_FOLDER = "code"
_LOADER = Path(__file__).with_name("mention_model.py")
"""Copied, not imported: only who loads a version pays for what it imports."""
_LIBRARIES = ("numpy", "onnxruntime", "pandas", "tokenizers")


def add_pyfunc(folder: Path, features: list[str], labels: list[str]) -> None:
    """Write MLmodel, its environment and the loader's code beside the files of a version.

    The code is the loader and the one text normalisation, as they are here; nothing is pickled.
    The project's own servers read neither.

    Args:
        folder: the files of the version.
        features: columns that a frame may have beside ``text``.
        labels: columns of the answer, beside ``label``.
    """
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    code = folder / CODE_FOLDER
    (code / "shared").mkdir(parents=True)
    shutil.copy(_LOADER, code)
    (code / "shared" / "__init__.py").touch()
    shutil.copy(str(text.__file__), code / "shared")
    (folder / "requirements.txt").write_text(
        "".join(f"{name}=={importlib.metadata.version(name)}\n" for name in ("mlflow", *_LIBRARIES))
    )
    (folder / "python_env.yaml").write_text(
        "python: 3.11\nbuild_dependencies: [pip]\ndependencies: [-r requirements.txt]\n"
    )
    known = [ColSpec(DataType.double, name, required=False) for name in features]
    answer = [ColSpec(DataType.double, label) for label in labels]
    model = Model(
        signature=ModelSignature(
            inputs=Schema([ColSpec(DataType.string, "text"), *known]),
            outputs=Schema([ColSpec(DataType.string, "label"), *answer]),
        )
    )
    # By name: MLflow's module of that name takes seconds to import, and only writes these keys.
    model.add_flavor(
        "python_function",
        loader_module=_LOADER.stem,
        python_version=platform.python_version(),
        code=CODE_FOLDER,
        env={"virtualenv": "python_env.yaml"},
    )
    model.save(str(folder / "MLmodel"))
