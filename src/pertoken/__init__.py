"""pertoken: what one input, one cached and one output token of a language model cost, and why."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pertoken.cost import Cost, Interval
    from pertoken.errors import DoesNotFit, PertokenError
    from pertoken.scenario import load, price
    from pertoken.serving.lengths import Lengths
    from pertoken.serving.workload import Goals, Workload
    from pertoken.sweep import sweep
    from pertoken.whatif.ask import what_if

__version__ = "0.1.0"
__all__ = [
    "Cost",
    "DoesNotFit",
    "Goals",
    "Interval",
    "Lengths",
    "PertokenError",
    "Workload",
    "load",
    "price",
    "sweep",
    "what_if",
]

_HOME = {
    "Cost": "cost",
    "Interval": "cost",
    "DoesNotFit": "errors",
    "PertokenError": "errors",
    "load": "scenario",
    "price": "scenario",
    "Lengths": "serving.lengths",
    "Goals": "serving.workload",
    "Workload": "serving.workload",
    "sweep": "sweep",
    "what_if": "whatif.ask",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that the command answers ``--help`` without loading numpy."""
    if name not in _HOME:
        raise AttributeError(f"module 'pertoken' has no attribute {name!r}")
    return getattr(importlib.import_module(f"pertoken.{_HOME[name]}"), name)
