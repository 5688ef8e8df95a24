"""A process that tells its pid and sleeps."""

import os
import time

if __name__ == "__main__":
    print(os.getpid(), flush=True)  # noqa: T201 - it is what the tests read
    time.sleep(60)
