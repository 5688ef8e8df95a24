"""The environment of the demo, which runs on its own home alone."""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import SettingsError

_STORES = ("FTI_ONLINE_STORE", "FTI_OFFLINE_STORE", "FTI_FEATURE_REGISTRY", "FTI_MLFLOW_URI")
_NOT_PASSED_ON = (
    "FTI_INFERENCE_MODEL",  # it serves the task's
    "FTI_INFERENCE_TOKENS_FILE",  # it asks without a token
    "FTI_TRAINING_TOKENS_FILE",
    "FTI_TRAINING_RUNS",  # its runs and messages are its home's
    "FTI_TRAINING_BROKER",
    "FTI_TRAINING_QUEUES",  # its worker takes the runs that it asks for
)


def demo_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for all that the demo starts.

    Raises:
        SettingsError: a store is elsewhere: the demo begins anew, and would overwrite it.
    """
    for name in _STORES:
        if environment.get(name):
            raise SettingsError(
                f"environment variable {name}",
                expected="none: the demo keeps all stores under FTI_HOME, and makes them anew",
                found="an address, which is not shown",
                remedy="Unset it.",
            )
    passed = {name: value for name, value in environment.items() if name not in _NOT_PASSED_ON}
    # Whoever tries the system out may have changed it; the record tells.
    return {"FTI_TRAINING_ALLOW_DIRTY": "true", **passed}
