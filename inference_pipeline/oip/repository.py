"""The model repository as the protocol shows it: what there is, and taking it in and out."""

from __future__ import annotations

from inference_pipeline.oip.schemas import IndexEntry, LoadRequest
from inference_pipeline.versions.state import ModelState
from inference_pipeline.versions.versions import Versions
from shared.errors import InputError
from shared.validation import printable, shown


class Repository:
    """The models that this server follows. Their versions come from the registry's aliases."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def index(self, *, only_ready: bool) -> list[IndexEntry]:
        """Return every version in service, and every model without one with its reasons."""
        entries = [entry for state in self._versions.models() for entry in _entries(state)]
        return [entry for entry in entries if entry.state == "READY" or not only_ready]

    def load(self, model: str, request: LoadRequest) -> None:
        """Put a model into service as the registry has it now. Blocks while files are fetched.

        Raises:
            FtiError: the model is unknown or cannot be put into service, or other files or
                another configuration were sent for it.
        """
        for name in request.parameters:
            if name == "config" or name.startswith("file:"):
                raise InputError(
                    f"parameters.{printable(name)[:40]}",
                    expected="a model as the registry has it",
                    found="another in its place",
                )
        version = request.parameters.get("version")
        if version is not None and not isinstance(version, str):
            raise InputError(
                "parameters.version", expected="a text, such as '3'", found=shown(version)
            )
        self._versions.load(model, version)

    def unload(self, model: str) -> None:
        """Take a model out of service until it is loaded again.

        Raises:
            FtiError: the model is unknown.
        """
        self._versions.unload(model)


def _entries(state: ModelState) -> list[IndexEntry]:
    if not state.ready:
        reasons = [str(problem) for problem in state.problems()]
        if not state.in_use:
            reasons = ["unloaded"]
        return [IndexEntry(name=state.name, state="UNAVAILABLE", reason=" ".join(reasons))]
    numbers = dict.fromkeys(served.version.version for served in state.served)
    return [IndexEntry(name=state.name, version=number, state="READY") for number in numbers]
