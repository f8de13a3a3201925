r"""Energy of a step, and who pays for it.

.. math:: E = \min(P_{act}\,t + e_{byte}\,b + e_{flop}\,F,\; P_{cap}\,t) + P_{act}\,w\,m

for a step of t predicted seconds that moves b bytes of memory, does F FLOP and emits m output tokens, on each of its
accelerators. The floor P_act is drawn as long as the step lasts, and for the w seconds that an engine's host holds the
accelerator for each emitted token beyond it; arithmetic in a format with twice the peak costs half as much a FLOP.
Idle accelerators draw their idle power. Shares: the floor as the seconds are shared (`pertoken.attribution`), bytes and
FLOP of an operation among its tokens, which are alike; where the cap binds, all shares of that kind of step shrink by one
factor, so they add up to E.

References
----------
.. [1] Chung et al. 2025, arXiv:2505.06371, the ML.ENERGY benchmark (what the parameters are fitted to).
.. [2] Horowitz 2014, ISSCC, doi:10.1109/ISSCC.2014.6757323 (energy by operation and by byte moved).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from pertoken.attribution.ledger import TOKENS, Entry, by_operation
from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import Timed
from pertoken.errors import PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.serving.lane import StepKind
from pertoken.serving.steady import Steady
from pertoken.sources import Sourced

Number = Any
IDLE_SHARE = 0.2  # of board power, with weights loaded; 0.20 was read on an H100 and 0.19 on a B200
UNITS = {"active": "W", "byte": "J/byte", "flop": "J/FLOP", "wait": "s/token", "idle": "W", "cap": "W"}


@dataclass(frozen=True)
class Draw:
    """What one accelerator draws.

    Parameters
    ----------
    active : Sourced
        Floor while a step runs [W].
    byte, flop : Sourced
        On top, for each byte of memory traffic [J/byte] and each FLOP in half precision [J/FLOP].
    wait : Sourced
        Time at the floor for each output token, beyond the predicted step: sampling, and the engine's host [s/token].
    idle, cap : Sourced
        With weights loaded and nothing to do, and at most [W].
    interval : tuple of float
        Measured over predicted joules, 5 and 95%.
    assumed : tuple of str
        What was not measured on this accelerator.
    """

    active: Sourced
    byte: Sourced
    flop: Sourced
    wait: Sourced
    idle: Sourced
    cap: Sourced
    interval: tuple[float, float] = (1.0, 1.0)
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in UNITS:
            if not 0.0 <= getattr(self, name).value < float("inf"):
                raise PertokenError(f"power: {name} is {getattr(self, name).value:g}; it must be from 0 and finite")
        if not 0.0 < self.interval[0] <= self.interval[1] < float("inf"):
            raise PertokenError(f"power: the interval {self.interval} must be two rising numbers above 0")

    def values(self) -> dict[str, float]:
        """The parameters as plain numbers, SI units."""
        return {f.name: getattr(self, f.name).value for f in fields(self) if f.name in UNITS}


def draw_of(parts: Mapping[str, Sourced], interval: tuple[float, float], assumed: tuple[str, ...] = ()) -> Draw:
    """A draw from its parts by name."""
    return Draw(*(parts[name] for name in UNITS), interval=interval, assumed=assumed)  # type: ignore[misc,arg-type]


def flat(watts: Sourced, assumed: tuple[str, ...] = ()) -> Draw:
    """The same power all the time that a step runs, and `IDLE_SHARE` of it when idle."""
    byte, flop, wait = (Sourced(0.0, UNITS[name], watts.source) for name in ("byte", "flop", "wait"))
    idle = Sourced(IDLE_SHARE * watts.value, "W", watts.source, f"{IDLE_SHARE:g} of it, assumed")
    return Draw(watts, byte, flop, wait, idle, watts, assumed=assumed)


def board(accelerator: Accelerator) -> Draw | None:
    """Board power for every working second; None where none is published."""
    found = accelerator.board_power
    return flat(found) if found else None


class Joules(NamedTuple):
    """Energy of one operation that one kind of token owes, in the mean step, on one accelerator of a lane [J].

    Parameters
    ----------
    token, part, group, name : str
        As in `pertoken.attribution.ledger.Entry`.
    joules : float or ndarray
        Of the accelerator alone [J].
    """

    token: str
    part: str
    group: str
    name: str
    joules: Number


def relative_peaks(deployment: Deployment) -> dict[str, float]:
    """Half-precision peak over the peak of each operation's own arithmetic, by name of the operation."""
    half = deployment.accelerator.peak(deployment.accelerator.half)
    found: dict[str, float] = {}
    for op in deployment.plan:
        peak = getattr(op, "flops", None)
        if peak:
            for name in (op.name, f"prefill_{op.name}", f"decode_{op.name}"):
                found[name] = half / peak
    return found


def _is_zero(figure: Number) -> bool:
    """Whether a figure, or each of an array, is 0."""
    return figure == 0.0 if isinstance(figure, float) else not np.any(figure != 0.0)


def _of_op(op: Timed, owed: Iterable[Entry], share: Number, draw: Draw, relative: float) -> Iterable[Joules]:
    """Floor by seconds; bytes and FLOP by tokens."""
    for token, part, group, name, seconds in owed:
        yield Joules(token, part, group, name, draw.active.value * seconds)
    work, count = op.work, op.count * share
    moved = {"weights": work.weight_bytes, "kv": work.kv_bytes, "activations": work.activation_bytes}
    arithmetic = count * work.flop * draw.flop.value * relative
    again = arithmetic * op.cached_share
    spent = {part: count * size * draw.byte.value for part, size in moved.items()} | {"compute": arithmetic - again}
    spent = {part: joules for part, joules in spent.items() if not _is_zero(joules)}
    everyone = np.maximum(op.input_tokens + op.output_tokens, 1e-30)
    for token, tokens in (("input", op.input_tokens), ("output", op.output_tokens)):
        if not _is_zero(tokens):
            part_of = tokens / everyone
            for part, joules in spent.items():
                yield Joules(token, part, op.group, op.name, joules * part_of)
    if not _is_zero(again):
        yield Joules("cached", "compute", op.group, op.name, again)


def _of_kind(kind: StepKind, owed: list[list[Entry]], draw: Draw, relative: Mapping[str, float]) -> Iterable[Joules]:
    """One kind of step, capped."""
    entries = [
        e
        for op, seconds in zip(kind.ops, owed, strict=True)
        for e in _of_op(op, seconds, kind.share, draw, relative.get(op.name, 1.0))
    ]
    total = sum(e.joules for e in entries)
    most = draw.cap.value * kind.share * kind.seconds
    factor = np.minimum(1.0, most / np.maximum(total, 1e-300))
    yield from entries if np.all(factor == 1.0) else (e._replace(joules=e.joules * factor) for e in entries)
    waited = kind.share * kind.step.emitted * draw.wait.value
    yield Joules("output", "overhead", "host", "wait", waited * draw.active.value)


def ledger_joules(deployment: Deployment, state: Steady, draw: Draw) -> list[Joules]:
    """All entries of a steady state; they sum to the mean step's energy on one accelerator [J]."""
    relative = relative_peaks(deployment)
    each = zip(state.kinds, by_operation(state), strict=True)
    return [e for kind, owed in each for e in _of_kind(kind, owed, draw, relative)]


def joules_by_token(entries: Iterable[Joules]) -> dict[str, Number]:
    """Joules that each kind of token owes in the mean step, on one accelerator [J]."""
    totals: dict[str, Number] = dict.fromkeys(TOKENS, 0.0)
    for e in entries:
        totals[e.token] = totals[e.token] + e.joules
    return totals


def working_watts(deployment: Deployment, state: Steady, draw: Draw) -> Number:
    """Joules of an accelerator for each predicted second that its lane works [W]."""
    return sum(joules_by_token(ledger_joules(deployment, state, draw)).values()) / state.step_s
