"""What a page may choose from: knobs with their sliders, and names of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pertoken.catalog import files, machines, rates, traces
from pertoken.catalog.models import load_checkpoint
from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS
from pertoken.model.precision import FORMATS
from pertoken.units import HOUR

START = {"model": "llama-3.1-70b", "on": "8xh100-sxm", "dtype": "fp8"}
GROUPS = ("model", "machine", "traffic", "money")
HIDDEN = ("efficiency",)  # a file of the command's user; the page has none


def knobs() -> Mapping[str, Any]:
    """Groups, knobs and the first screen's."""
    return {"groups": GROUPS, "knobs": [k.as_dict() for k in KNOBS.values() if k.name not in HIDDEN], "start": START}


@cache
def catalog() -> Mapping[str, Any]:
    """Models, accelerators, engines, traces and formats."""
    return {
        "models": [_model(name) for name in files.names("models")],
        "accelerators": [_accelerator(name) for name in files.names("accelerators")],
        "engines": files.names("engines"),
        "traces": traces.names(),
        "dtypes": list(FORMATS),
    }


def _model(name: str) -> dict[str, Any]:
    found = load_checkpoint(name)
    return {
        "name": name,
        "title": found.model.name,
        "parameters": found.model.parameters,
        "active_parameters": found.model.active_parameters,
        "dtype": found.precision.weights if found.precision else None,
    }


def _accelerator(name: str) -> dict[str, Any]:
    a = machines.load_accelerator(name)
    try:
        rent = rates.median_rent(name)
    except PertokenError:
        rent = None
    return {
        "name": name,
        "title": a.title,
        "memory_bytes": a.memory.value,
        "rent_usd_per_hour": rent.usd_per_second * HOUR if rent else None,
        "rent_date": rent.since if rent else None,
    }
