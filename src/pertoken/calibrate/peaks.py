"""Datasheet peaks that the fitted shares refer to, from an accelerator's catalog file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pertoken.errors import PertokenError


def read_peaks(path: Path) -> dict[str, float]:
    """Peaks by arithmetic [FLOP/s], ``memory`` and, if there is one, ``link`` [byte/s].

    Raises
    ------
    PertokenError
        When there is no such file or it lacks a peak.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
        peaks = {name: float(entry["value"]) for name, entry in table["flops"].items()}
        peaks["memory"] = float(table["memory"]["bandwidth"]["value"])
        if "link" in table:
            peaks["link"] = float(table["link"]["bandwidth"]["value"])
    except FileNotFoundError as error:
        raise PertokenError(f"{path.name} is not in the accelerator catalog; add its datasheet first") from error
    except (KeyError, TypeError) as error:
        raise PertokenError(f"{path.name} lacks {error}; it must have flops and memory.bandwidth") from error
    return peaks
