"""The ONNX sessions of one model file: for passes side by side, and for a pass that is alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from shared.errors import ContractError

Inputs = Mapping[str, Any]


class Sessions:
    """Runs a model file. Safe to call from several threads at a time.

    Throughput comes from passes side by side, each on the one thread that calls it. A pass that is
    alone would leave the other cores idle: it has a session on all of them, which takes the memory
    of the model once more.
    """

    def __init__(self, onnx_file: Path, *, lone_pass_threads: int) -> None:
        """Open the file.

        Args:
            onnx_file: the model.
            lone_pass_threads: of a forward pass while nothing else runs.

        Raises:
            ContractError: onnxruntime refuses the file.
        """
        self._narrow = _open(onnx_file, threads=1)
        self._wide = self._narrow
        if lone_pass_threads > 1:
            self._wide = _open(onnx_file, threads=lone_pass_threads)

    @property
    def inputs(self) -> dict[str, list[Any]]:
        """The shapes of the inputs, by name; a dimension that is left open is a text."""
        return {given.name: given.shape for given in self._narrow.get_inputs()}

    @property
    def outputs(self) -> dict[str, list[Any]]:
        """The shapes of the outputs, by name."""
        return {given.name: given.shape for given in self._narrow.get_outputs()}

    def run(self, output: str, inputs: Inputs, *, alone: bool) -> Any:
        """Return one output of a pass."""
        session = self._wide if alone else self._narrow
        return session.run([output], inputs)[0]


def _open(onnx_file: Path, *, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads wait for each other in a loop, and stop to when the pass ends: they would hold the
    # cores on which its answer is sent and the next request comes in.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return ort.InferenceSession(
            str(onnx_file), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no base class but Exception
        raise ContractError(
            str(onnx_file), expected="an ONNX model", found="a file that onnxruntime refuses"
        ) from error
