"""Requests made up from the documentation of every endpoint find no fault of the server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from shared.feature_store import FeatureService
from tests.inference.oip_server import serving

SETTINGS = """
[generation]
deterministic = true
max-examples = 15

[checks]
# A request may give a deadline that nobody can meet, and is told so.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
# Schemas cannot say that a tensor has as many elements as its shape, and limits are settings.
positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "^/v2/models/[{]"
parameters = { "path.model_name" = "tiny", "path.model_version" = "1" }

[[operations]]
include-name = "POST /v2/repository/models/{model_name}/unload"
# Without its only model the server rightly says 503 to all that follows.
parameters = { "path.model_name" = "nobody" }
"""


def test_no_documented_endpoint_gives_an_undocumented_answer(
    tmp_path: Path, feature_service: FeatureService
) -> None:
    """Whatever is sent, no answer is a 5xx, and each is one that the documentation tells of."""
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    with serving(tmp_path, feature_service) as client:
        done = subprocess.run(
            [
                sys.executable,
                *("-m", "schemathesis.cli", "--config-file", "schemathesis.toml"),
                *("run", f"{client.base_url}/openapi.json", "--no-color", "--warnings", "off"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        paths = client.get("/openapi.json").json()["paths"]
    assert done.returncode == 0, done.stdout + done.stderr
    operations = sum(len(methods) for methods in paths.values())
    assert f"Tested: {operations}" in done.stdout
