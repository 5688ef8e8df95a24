"""What a run of scoring does, so that another can tell whether it may go on with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from inference_pipeline.scoring.input_file import InputFile
from shared.errors import StateError


@dataclass(frozen=True)
class Plan:
    """What a run does. Another run goes on with its parts only if it would do the same."""

    input: str
    content: str
    """SHA-256 of the input."""
    columns: dict[str, str]
    chunk_rows: int
    model: str
    version: str = ""
    """All rows are scored by one version. Empty until it is known."""
    variant: str = ""
    """All rows are scored by one of its variants. Empty until it is known."""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the plan that an earlier run left; None if there is none.

        Raises:
            StateError: the file holds something else.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise StateError(
                str(path),
                expected="the plan of an earlier run",
                found="what cannot be read as one",
                remedy="Run it with --anew, which begins with the first row.",
            ) from error

    def write(self, path: Path) -> None:
        """Write the plan, whole or not at all."""
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(self)), encoding="utf-8")
        unfinished.replace(path)

    def check_same(self, earlier: Plan, place: str) -> None:
        """Check that an earlier run did the same as far as it is known.

        Raises:
            StateError: it did not; the error names the place and the first difference.
        """
        # What is left open is as it was then.
        known = replace(
            self,
            version=self.version or earlier.version,
            variant=self.variant or earlier.variant,
        )
        wanted, found = asdict(known), asdict(earlier)
        different = next((name for name in wanted if wanted[name] != found[name]), None)
        if different == "content":
            raise StateError(
                f"{place}, input {self.input}",
                expected=f"the content that its parts were made from (SHA-256 {earlier.content})",
                found=f"another (SHA-256 {self.content})",
                remedy="Put the earlier file back, or score this one with --anew.",
            )
        if different == "variant":
            raise StateError(
                f"{place}, variant of version {known.version}",
                expected=f"{earlier.variant}, which scored the parts of an earlier run",
                found=f"{self.variant}, which was the faster one at this start",
                remedy="Run it again, on the machine of the earlier run, or with --anew.",
            )
        if different is not None:
            raise StateError(
                f"{place}, {different}",
                expected=str(wanted[different]),
                found=f"{found[different]}, in parts that an earlier run left",
                remedy="Run it as then, or with --anew.",
            )


def plan_of(file: InputFile, *, chunk_rows: int, model: str, version: str = "") -> Plan:
    """Return the plan to score a file as it is now.

    Raises:
        InputError: the file cannot be read.
    """
    return Plan(
        input=str(file.path.absolute()),
        content=file.digest(),
        columns=dict(file.columns),
        chunk_rows=chunk_rows,
        model=model,
        version=version,
    )
