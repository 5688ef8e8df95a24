"""A copy of the checkout in which README commands run word by word, on a tiny encoder."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.training.tiny_encoder import make_tiny_encoder

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DEFAULT_PORTS = {
    "8000": "FTI_INFERENCE_PORT",
    "8001": "FTI_FEATURES_PORT",
    "8002": "FTI_TRAINING_PORT",
}
_WORDS = {
    "positive": ["taut", "funny", "alive", "moving", "clever"],
    "negative": ["dull", "flat", "tired", "noisy", "empty"],
}


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout, with ports of its own and the README's blocks."""

    folder: Path
    environment: dict[str, str]
    blocks: list[tuple[str, str]]
    """Language and text of each fenced block that has a language."""

    def commands(self, start: str) -> str:
        """Return the README's block of commands that begins so, with this copy's ports."""
        (block,) = [text for kind, text in self.blocks if kind == "bash" and text.startswith(start)]
        for port, variable in _DEFAULT_PORTS.items():
            block = block.replace(f"localhost:{port}", f"localhost:{self.environment[variable]}")
        return block

    def file(self, kind: str) -> str:
        """Return the README's only block of a kind."""
        (text,) = [text for found, text in self.blocks if found == kind]
        return text

    def run(self, commands: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run commands as bash does, stopping at the first that fails."""
        return subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Copy what git tracks, and make its training small: a tiny encoder on a few texts."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git of the PATH
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("FTI_", "MAKE"))
    }
    # The tests' own environment is the one that `make venv` makes.
    environment["MAKEFLAGS"] = "-o .venv/.complete -o venv"
    environment |= {variable: str(_free_port()) for variable in _DEFAULT_PORTS.values()}
    blocks = _BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    make_tiny_encoder(folder / "tiny", [" ".join(words) for words in _WORDS.values()] * 10)
    sample = folder / "tasks" / "brand_mentions.toml"
    sample.write_text(made_small(sample.read_text()))
    return Checkout(folder, environment, blocks)


def made_small(task: str) -> str:
    """Return a task file with a tiny encoder, few texts, and a gate that such a model can pass."""
    small, replaced = re.subn(r'base = "[^"]+"', 'base = "tiny"', task)
    assert replaced == 1
    small = re.sub(r"max_texts = \d+", "max_texts = 300", small)
    small = re.sub(r"max_holdout = \d+", "max_holdout = 150", small)
    small = re.sub(r"max_length = \d+", "max_length = 32", small)
    small = re.sub(r"min_\w+_pass_rate = .*\n", "", small)
    return small.replace("min_gain_over_baseline = 0.0", "min_gain_over_baseline = -1.0")


def film_reviews(like: str, count: int) -> str:
    """Return JSON Lines of made-up reviews with the fields of an example row."""
    chosen = random.Random(5)  # noqa: S311 - texts, no secrets
    fields = list(json.loads(like))
    lines = []
    for number in range(count):
        verdict = chosen.choice(sorted(_WORDS))
        words = ", ".join(chosen.choice(_WORDS[verdict]) for _ in range(3))
        day = datetime(2017, 1, 1, tzinfo=UTC) + timedelta(days=number // 2)
        row = {
            "id": f"r{number}",
            "text": f"{words} and number {number}.",
            "film": chosen.choice(["heat", "alien", "brazil"]),
            "critic": chosen.choice(["ann", "bob"]),
            "date": f"{day:%Y-%m-%d}",
            "verdict": verdict,
        }
        assert list(row) == fields
        lines.append(json.dumps(row))
    return "\n".join(lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
