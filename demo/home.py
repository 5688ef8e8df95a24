"""The home that the demo runs in: its own, and fresh each time."""

from __future__ import annotations

import shutil
from pathlib import Path

from deploy.embedded.home import LOCK_FILE
from shared.errors import StateError

_MARK = "made-by-the-demo"


def refresh_home(home: Path) -> None:
    """Empty a home that the demo made; mark a new one as the demo's.

    Raises:
        StateError: the home holds something that the demo did not make.
    """
    mark = home / _MARK
    content = [path for path in home.iterdir() if path.name not in {_MARK, LOCK_FILE}]
    if content and not mark.exists():
        raise StateError(
            f"FTI_HOME {home}",
            expected="an empty folder or one that an earlier demo made",
            found=f"{len(content)} entries, such as {content[0].name}",
            remedy="Set FTI_HOME to another folder; the demo begins anew and would delete these.",
        )
    mark.touch()
    for path in content:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
