"""A process for ``run_fresh`` to watch: does what its second argument says."""

import sys
import time
from pathlib import Path


def obey(answer: Path, order: str) -> None:
    """Write an answer, hold half a GiB, sleep, or break."""
    if order == "answer":
        answer.write_text('{"pages": 3}')
    elif order == "eat":
        eaten = bytearray(512 * 2**20)
        time.sleep(60)
        del eaten
    elif order == "sleep":
        time.sleep(60)
    elif order == "break":
        raise ValueError("nothing left")


if __name__ == "__main__":
    obey(Path(sys.argv[1]), sys.argv[2])
