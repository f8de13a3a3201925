r"""From a probe to the parts of a step: what a prompt token, a pair of tokens, a decode step and its sequences take.

.. math::

   T_{first}(n, c, p) = h + a\,n + b\,p + k\,c, \qquad p = n (c + (n + 1) / 2)

   T_{step}(B, \bar c) = w + s B + r B \bar c

with n fresh and c cached tokens of a prompt, B sequences that decode together at mean context :math:`\bar c`. Both are
linear in what is asked for, so robust regression has an answer and standard errors, and a sum of parts has an interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pertoken.errors import PertokenError
from pertoken.measure.records import Answer
from pertoken.measure.regress import Array, Line, fit

PREFILL = ("request", "token", "pair", "cached")
DECODE = ("step", "sequence", "context")
MEANING = {
    "request": ("each request", "s"), "token": ("each fresh input token", "s/token"),
    "pair": ("each pair of tokens that attend", "s/pair"), "cached": ("each cached token, loaded", "s/token"),
    "step": ("each decode step", "s"), "sequence": ("each sequence of it", "s"),
    "context": ("each context token of it", "s/token"),
}  # fmt: skip


@dataclass(frozen=True)
class Prefilled:
    """A prompt that was served alone.

    Parameters
    ----------
    seconds : float
        To its first token [s].
    fresh, cached : float
        Tokens computed, and found in the prefix cache [token].
    """

    seconds: float
    fresh: float
    cached: float

    @property
    def pairs(self) -> float:
        """Pairs of tokens that attend, each token with itself and those before it."""
        return self.fresh * (self.cached + (self.fresh + 1.0) / 2.0)


@dataclass(frozen=True)
class Decoded:
    """A step of a batch that decoded together.

    Parameters
    ----------
    seconds : float
        Of the step [s].
    batch, context : float
        Sequences, and mean tokens attended [token].
    """

    seconds: float
    batch: float
    context: float


@dataclass(frozen=True)
class Steps:
    """The parts of steps, as far as they were measured.

    Parameters
    ----------
    prefill, decode : Line or None
        None where too little was measured.
    prompts, batches : tuple
        What was fitted.
    notes : tuple of str
        What could not be told.
    """

    prefill: Line | None
    decode: Line | None
    prompts: tuple[Prefilled, ...] = ()
    batches: tuple[Decoded, ...] = ()
    notes: tuple[str, ...] = ()

    def first_token(self, fresh: float, cached: float = 0.0) -> tuple[float, float, float]:
        """Seconds to the first token of a prompt alone, with a 90% interval [s]."""
        if self.prefill is None:
            raise PertokenError("no prompts were measured; let the probe send more requests")
        return self.prefill.at(1.0, fresh, Prefilled(1.0, fresh, cached).pairs, cached)

    def input_token(self, position: float) -> tuple[float, float, float]:
        """Seconds of the input token at a position, counted from 1, with a 90% interval [s]."""
        if self.prefill is None:
            raise PertokenError("no prompts were measured; let the probe send more requests")
        return self.prefill.at(0.0, 1.0, position, 0.0)

    def output_token(self, batch: float, context: float) -> tuple[float, float, float]:
        """Seconds of an output token in a batch, the step shared equally, with a 90% interval [s]."""
        if self.decode is None:
            raise PertokenError("no batches were measured; let the probe send more requests")
        return self.decode.at(1.0 / batch, 1.0, context)

    def cached_token(self) -> tuple[float, float, float]:
        """Seconds that a cached token adds before the first output token, with a 90% interval [s]."""
        if self.prefill is None:
            raise PertokenError("no prompts were measured; let the probe send more requests")
        return self.prefill.at(0.0, 0.0, 0.0, 1.0)


def prompts_of(answers: Sequence[Answer]) -> list[Prefilled]:
    """Prompts that were alone in the engine. A prefix that was sent again counts only where its cached tokens are told."""
    found = []
    for a in answers:
        alone = a.cell in ("prompt", "prefix", "chunk") and a.batch == 1
        if alone and not (a.cell == "chunk" and a.cached is None) and a.input > (a.cached or 0):
            found.append(Prefilled(a.ttft, float(a.input - (a.cached or 0)), float(a.cached or 0)))
    return [p for p in found if p.seconds > 0]


def batches_of(answers: Sequence[Answer]) -> list[Decoded]:
    """Steps of groups, one for each group."""
    groups = {a.group: a for a in answers if a.cell == "decode" and a.step_s > 0 and math.isfinite(a.context)}
    return [Decoded(a.step_s, float(a.batch), a.context) for a in groups.values()]


def prefill_columns(prompts: Sequence[Prefilled]) -> dict[str, Array]:
    """Columns of the first form."""
    parts = [(1.0, p.fresh, p.pairs, p.cached) for p in prompts]
    return dict(zip(PREFILL, np.array(parts, dtype=float).reshape(-1, len(PREFILL)).T, strict=True))


def decode_columns(batches: Sequence[Decoded]) -> dict[str, Array]:
    """Columns of the second form."""
    parts = [(1.0, b.batch, b.batch * b.context) for b in batches]
    return dict(zip(DECODE, np.array(parts, dtype=float).reshape(-1, len(DECODE)).T, strict=True))


def _line(columns: dict[str, Array], seconds: Sequence[float], what: str, notes: list[str]) -> Line | None:
    try:
        found = fit(columns, np.array(seconds, dtype=float))
    except PertokenError as error:
        notes.append(f"{what}: {error}")
        return None
    lost = [MEANING[name][0] for name, told in zip(found.names, found.told, strict=True) if not told]
    if lost:
        notes.append(f"{what} do not tell apart: {', '.join(lost)}")
    return found


def fit_steps(prompts: Sequence[Prefilled], batches: Sequence[Decoded]) -> Steps:
    """Fit what was measured.

    Parameters
    ----------
    prompts, batches : sequence
        Of `prompts_of` and `batches_of`.
    """
    notes: list[str] = []
    prefill = _line(prefill_columns(prompts), [p.seconds for p in prompts], "prompts", notes)
    decode = _line(decode_columns(batches), [b.seconds for b in batches], "batches", notes)
    return Steps(prefill, decode, tuple(prompts), tuple(batches), tuple(notes))


def fit_answers(answers: Sequence[Answer]) -> Steps:
    """The parts of the steps behind a probe's answers."""
    return fit_steps(prompts_of(answers), batches_of(answers))
