"""What the protocol tells of a model: its tensors, its configuration, whether it serves."""

from __future__ import annotations

from inference_pipeline.oip.schemas import (
    ModelConfig,
    ModelMetadata,
    TensorConfig,
    TensorMetadata,
)
from inference_pipeline.oip.signature import INPUTS, OUTPUTS, TEXT
from inference_pipeline.oip.target import Limits, Target
from inference_pipeline.versions.served import ServedVersion
from inference_pipeline.versions.versions import Versions

PLATFORM = "onnxruntime_onnx"
_BACKEND = "onnxruntime"
_ROWS = -1
_TYPES = {"BYTES": "TYPE_STRING", "BOOL": "TYPE_BOOL", "FP32": "TYPE_FP32"}


class ModelViews:
    """The versions in service, as the protocol shows them."""

    def __init__(self, versions: Versions, limits: Limits) -> None:
        self._versions = versions
        self._limits = limits

    def metadata(self, target: Target) -> ModelMetadata:
        """Return the tensors of a model.

        Raises:
            FtiError: the model or the version is unknown, or not in service.
        """
        with self._versions.lease(target.model, target.version, key="") as served:
            return ModelMetadata(
                name=served.version.name,
                versions=self._numbers(target),
                platform=PLATFORM,
                inputs=_inputs(),
                outputs=_outputs(served),
            )

    def config(self, target: Target) -> ModelConfig:
        """Return the configuration of a model; raises as `metadata` does."""
        shown = self.metadata(target)
        return ModelConfig(
            name=shown.name,
            platform=shown.platform,
            backend=_BACKEND,
            max_batch_size=0,
            input=[
                TensorConfig(
                    name=tensor.name,
                    data_type=_TYPES[tensor.datatype],
                    dims=tensor.shape,
                    optional=tensor.name != TEXT,
                )
                for tensor in shown.inputs
            ],
            output=[
                TensorConfig(name=tensor.name, data_type=_TYPES[tensor.datatype], dims=tensor.shape)
                for tensor in shown.outputs
            ],
            parameters={"max_rows": {"string_value": str(self._limits.rows)}},
        )

    def check_ready(self, target: Target) -> None:
        """Return if requests for the model can be answered; raises as `metadata` does if not."""
        with self._versions.lease(target.model, target.version, key=""):
            return

    def _numbers(self, target: Target) -> list[str]:
        if target.version is not None:
            return [target.version]
        served = self._versions.state(target.model).served
        return list(dict.fromkeys(entry.version.version for entry in served))


def _inputs() -> list[TensorMetadata]:
    return [TensorMetadata(name=name, datatype="BYTES", shape=[_ROWS]) for name in INPUTS]


def _outputs(served: ServedVersion) -> list[TensorMetadata]:
    labels = len(served.model.manifest.labels)
    return [
        TensorMetadata(name=name, datatype="FP32", shape=[_ROWS, labels])
        if output is None
        else TensorMetadata(name=name, datatype=output.datatype, shape=[_ROWS])
        for name, output in OUTPUTS.items()
    ]
