"""Cold start of the command, as a ratio to an empty Python in the same run."""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

COMMAND = [str(Path(sys.executable).with_name("pertoken")), "price", "llama-3.1-8b"]
# installed packages have their bytecode beside them, so the warm-up run may write it here too
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
EMPTY = [sys.executable, "-c", "pass"]


def seconds(command: list[str]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - start


def main() -> None:
    """Print medians and their ratio."""
    seconds(COMMAND)
    pairs = [(seconds(COMMAND), seconds(EMPTY)) for _ in range(9)]
    answer, empty = (median(column) for column in zip(*pairs, strict=True))
    print(f"pertoken price llama-3.1-8b: {answer:.3f} s; empty Python {empty:.3f} s; ratio {answer / empty:.1f}")


if __name__ == "__main__":
    main()
