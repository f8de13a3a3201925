"""Kernel factors: how much longer one engine's own kernel takes than the fit over all engines.

References
----------
.. [1] Tables of the wheel aiconfigurator-core, which time the same shapes under each engine, see `pertoken.calibrate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from pertoken.errors import PertokenError

_MOST = 10.0  # an engine that were this much slower or faster than the fit would run another operation


@dataclass(frozen=True)
class EngineFactor:
    """Seconds of an engine's kernel over those of the pooled fit, by what binds.

    Parameters
    ----------
    memory : float
        Where reading memory (or sending over the link) binds [1].
    compute : float
        Where arithmetic binds [1].
    launch : float
        For the seconds that do not depend on size [1].
    """

    memory: float = 1.0
    compute: float = 1.0
    launch: float = 1.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not isinstance(value, int | float) or not math.isfinite(value) or not 1.0 / _MOST <= value <= _MOST:
                raise PertokenError(f"{f.name} is {str(value)[:40]}; it must be within {1 / _MOST:g} and {_MOST:g}")

    def of(self, record: Any) -> Any:
        """An efficiency with this factor in it; no share of a peak passes 1.

        Parameters
        ----------
        record : MatmulEfficiency or any other
            What was fitted over all engines.
        """
        changed = {}
        for name, factor in (("peak", self.compute), ("bandwidth", self.memory), ("direct", self.memory)):
            if hasattr(record, name):
                changed[name] = min(getattr(record, name) / factor, 1.0)
        for name in ("launch_s", "latency_s", "hop_s", "sync_s"):
            if hasattr(record, name):
                changed[name] = getattr(record, name) * self.launch
        return replace(record, **changed)


def factors_from_dict(table: Any, where: str) -> dict[str, dict[str, EngineFactor]]:
    """Read the factors of an efficiency file, by engine and by ``matmul.fp8`` and so on.

    Raises
    ------
    PertokenError
        Naming the key that is unknown or out of range.
    """
    names = {f.name for f in fields(EngineFactor)}
    if not isinstance(table, Mapping) or not all(isinstance(rows, Mapping) for rows in table.values()):
        raise PertokenError(f"{where}: engines must be a table of tables, one for each engine")
    made: dict[str, dict[str, EngineFactor]] = {}
    for engine, rows in table.items():
        for key, row in rows.items():
            if not isinstance(row, Mapping) or not set(row) <= names:
                raise PertokenError(f"{where}: engines.{engine}.{key}: its keys must be among {sorted(names)}")
            try:
                made.setdefault(engine, {})[key] = EngineFactor(**row)
            except PertokenError as error:
                raise PertokenError(f"{where}: engines.{engine}.{key}: {error}") from error
    return made
