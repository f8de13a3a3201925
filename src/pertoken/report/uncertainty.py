"""Which input moves the answer most: each alone from its low end to its high one, then all together by seeded samples.

Nothing is propagated by rules: every end and every sample is the cost formula evaluated again. Idle time is spread over the
tokens here, so that utilisation shows in a token's figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.cost import Cost, price_deployment
from pertoken.errors import PertokenError
from pertoken.serving.lengths import Lengths
from pertoken.units import HOUR, JOULES_PER_KWH, MILLION, format_money

Array = NDArray[np.float64]
SAMPLES = 1000
SEED = 0
POINTS = 7  # lengths at which the operating point is solved; samples lie between
Z95 = 1.6448536269514722  # of a normal distribution, 5 and 95%
UNITS = {"step time": "1", "energy": "1", "rate": "$/h", "utilisation": "1", "input": "1", "pue": "1", "grid": "g/kWh"}
METRICS = ("input_usd", "output_usd", "output_joules", "output_grams")
BAR = 24


@dataclass(frozen=True)
class Range:
    """Ends of an input, 5 and 95%, and where they come from.

    Parameters
    ----------
    low, high : float
        In the unit of `UNITS`.
    origin : str
        Where they come from.
    """

    low: float
    high: float
    origin: str


@dataclass(frozen=True)
class Swing:
    """What one input does alone.

    Parameters
    ----------
    name : str
        The input.
    value : float
        Where it stands.
    range : Range
        Its ends.
    at_low, at_high : mapping
        Metrics at the ends.
    """

    name: str
    value: float
    range: Range
    at_low: Mapping[str, float]
    at_high: Mapping[str, float]

    def size(self, metric: str) -> float:
        """Logarithm of the ratio between the ends, absolute."""
        low, high = self.at_low[metric], self.at_high[metric]
        return abs(math.log(high / low)) if low > 0 and high > 0 else 0.0


@dataclass(frozen=True)
class Tornado:
    """All inputs, the largest first, and their joint effect.

    Parameters
    ----------
    swings : tuple of Swing
        By their effect on the first metric there is.
    value : mapping
        Metrics as answered, idle time spread over tokens.
    joint : mapping
        5 and 95% of each metric over the samples.
    samples, seed : int
        Of the joint effect.
    """

    swings: tuple[Swing, ...]
    value: Mapping[str, float]
    joint: Mapping[str, tuple[float, float]]
    samples: int = SAMPLES
    seed: int = SEED


class Case:
    """Evaluates the cost formula at given inputs; lengths are solved anew at points, once.

    Parameters
    ----------
    cost : Cost
        The answer.
    factors : tuple of float
        Lowest and highest factor on the input's lengths.
    """

    def __init__(self, cost: Cost, factors: tuple[float, float]) -> None:
        self.cost = cost
        grid = np.unique(np.concatenate((np.geomspace(*factors, POINTS), [1.0])))
        solved = [(f, c) for f in grid if (c := self._at(float(f))) is not None]
        self.factors = np.array([f for f, _ in solved])
        names = ("input", "output")
        self.seconds = {n: np.array([getattr(c.accelerator_s, n).value for _, c in solved]) for n in names}
        known = cost.meter is not None
        self.joules = {
            n: np.array([getattr(c.joules, n).value if known else math.nan for _, c in solved]) for n in names
        }
        self.busy = np.array([c.utilisation / c.paid_share for _, c in solved])

    def _at(self, factor: float) -> Cost | None:
        """The answer with longer or shorter inputs, idle time apart; None where it cannot be served."""
        c, lengths = self.cost, self.cost.workload.lengths
        room = c.deployment.model.context_limit - lengths.output
        scaled = (
            np.clip(np.round(lengths.input * factor), 1.0, np.maximum(room, 1.0)) if factor != 1.0 else lengths.input
        )
        found = None if lengths.found is None else np.minimum(lengths.found * factor, scaled)
        scaled_lengths = Lengths(scaled, lengths.output, lengths.origin, found)
        workload = replace(c.workload, input=None, output=None, lengths=scaled_lengths)
        try:
            return price_deployment(
                c.deployment, workload, None, c.paid_share, rate_missing="", draw=c.draw, site=c.site
            )
        except PertokenError:
            return None

    def metrics(self, at: Mapping[str, Any]) -> dict[str, Any]:
        """Metrics at values of the inputs, each a number or an array."""
        c = self.cost
        factor, step = np.log(at["input"]), at["step time"]

        def between(values: Array) -> Any:
            return np.exp(np.interp(factor, np.log(self.factors), np.log(values)))

        busy = at["utilisation"] * between(self.busy)
        # a given rate keeps a slower engine busier, and what is paid for a token the same
        paid = (1.0 if c.workload.mode in ("rps", "load") else step) / busy
        found: dict[str, Any] = {}
        meter, meter_factor = c.meter, c.site.host.value * at["pue"]
        idle = np.maximum(paid - step, 0.0)
        joules = {n: math.nan for n in self.joules}
        if meter is not None:
            joules = {
                n: (between(self.joules[n]) * at["energy"] + idle * between(self.seconds[n]) * meter.idle_watts)
                * meter_factor
                for n in self.joules
            }
        for n in self.seconds:
            if c.rate is not None:
                second = c.rate.fixed_usd_per_second * between(self.seconds[n]) * paid
                electricity = c.rate.usd_per_joule * joules[n] if c.rate.usd_per_joule else 0.0
                found[f"{n}_usd"] = (second + electricity) * at["rate"] * MILLION
        if meter is not None:
            found["output_joules"] = joules["output"]
            if c.site.grid is not None:
                made = c.site.embodied_grams_per_second * between(self.seconds["output"]) * paid
                found["output_grams"] = (joules["output"] * at["grid"] / JOULES_PER_KWH + made) * MILLION
        return found


def centre(cost: Cost) -> dict[str, float]:
    """Where every input stands; step time, energy, rate and input are factors."""
    found = {"step time": 1.0, "energy": 1.0, "rate": 1.0, "utilisation": cost.paid_share, "input": 1.0}
    return found | {"pue": cost.site.pue.value, "grid": cost.site.grid.value if cost.site.grid else 1.0}


def default_ranges(cost: Cost) -> dict[str, Range]:
    """Ranges of the inputs that an answer itself knows: residuals of the model and the band of rents."""
    each = cost.accelerator_s.output
    found = {
        "step time": Range(
            each.low / each.value, each.high / each.value, "model residual on what was left out of the fit"
        )
    }
    if cost.basis == "allocation" and cost.workload.mode in ("rps", "load"):
        ends = cost.deployment.interval("tpot")
        found = {"step time": Range(*ends, found["step time"].origin)} if ends else {}
    if cost.meter and cost.meter.draw.interval != (1.0, 1.0):
        found["energy"] = Range(*cost.meter.draw.interval, "residual of joules on model families left out of the fit")
    if cost.rate and cost.rate.band:
        low, high = (end / cost.rate.usd_per_second for end in cost.rate.band)
        if low < high:
            found["rate"] = Range(low, high, "lowest and highest listed")
    return found


def tornado(cost: Cost, ranges: Mapping[str, Range]) -> Tornado:
    """Evaluate an answer at the ends of its inputs, and over samples of all of them.

    Parameters
    ----------
    cost : Cost
        The answer.
    ranges : mapping of str to Range
        Inputs to vary, by names of `UNITS`; those left out stay.

    Raises
    ------
    PertokenError
        When a range does not rise or names no input.
    """
    at = centre(cost)
    for name, r in ranges.items():
        if name not in UNITS or not 0.0 < r.low <= r.high < math.inf:
            raise PertokenError(
                f"--range {name[:40]}={r.low:g}:{r.high:g} is no range; give one of {', '.join(UNITS)} with two rising numbers"
                " above 0"
            )
    lengths = ranges.get("input", Range(1.0, 1.0, ""))
    case = Case(cost, (min(lengths.low, 1.0), max(lengths.high, 1.0)))
    value = {k: float(v) for k, v in case.metrics(at).items()}
    swings = []
    for name, r in ranges.items():
        ends = [{k: float(v) for k, v in case.metrics(at | {name: end}).items()} for end in (r.low, r.high)]
        swings.append(Swing(name, at[name], r, *ends))
    first = next((m for m in ("output_usd", "output_joules") if m in value), "")
    swings.sort(key=lambda s: -s.size(first) if first else 0.0)
    return Tornado(tuple(swings), value, _joint(case, at, ranges))


def _joint(case: Case, at: Mapping[str, float], ranges: Mapping[str, Range]) -> dict[str, tuple[float, float]]:
    """5 and 95% of the metrics when every input varies by itself, its median where it stands."""
    random = np.random.default_rng(SEED)
    drawn: dict[str, Any] = dict(at)
    for name, r in ranges.items():
        z = random.standard_normal(SAMPLES)
        # the logarithm is normal on each side, so that 5 and 95% fall on the ends
        below, above = np.log(at[name] / r.low) / Z95, np.log(r.high / at[name]) / Z95
        values = at[name] * np.exp(z * np.where(z < 0, np.maximum(below, 0.0), np.maximum(above, 0.0)))
        drawn[name] = np.minimum(values, 1.0) if name == "utilisation" else values
    return {k: tuple(float(q) for q in np.quantile(v, (0.05, 0.95))) for k, v in case.metrics(drawn).items()}  # type: ignore[misc]


def document(found: Tornado) -> dict[str, Any]:
    """The tornado as plain data."""
    return {
        "basis": "allocation",
        "samples": found.samples,
        "seed": found.seed,
        "joint": {k: {"value": found.value[k], "low": low, "high": high} for k, (low, high) in found.joint.items()},
        "inputs": [
            {
                "input": s.name, "unit": "1" if s.name == "rate" else UNITS[s.name], "value": s.value, "low": s.range.low,
                "high": s.range.high, "origin": s.range.origin,
                **{k: {"at_low": s.at_low[k], "at_high": s.at_high[k]} for k in s.at_low},
            }
            for s in found.swings
        ],
    }  # fmt: skip


def _shown(cost: Cost, name: str, value: float) -> str:
    """An end of an input as a reader wants it."""
    if name == "rate" and cost.rate:
        return f"{format_money(value * cost.rate.usd_per_second * HOUR)}/h"
    if name == "input":
        return f"x {value:.3g}"
    return f"x {value:.3g}" if name in ("step time", "energy") else f"{value:.3g}"


def lines(cost: Cost, found: Tornado) -> list[str]:
    """The tornado as text: one line an input, longest bar first."""
    from pertoken.report.text import table

    metric = next((m for m in ("output_usd", "output_joules") if m in found.value), "")
    if not metric:
        return ["neither a rate nor power is known, so there is nothing to vary"]
    show = format_money if metric == "output_usd" else (lambda joules: f"{joules:.3g} J")
    ends = [x for s in found.swings for x in (s.at_low[metric], s.at_high[metric])] + [found.value[metric]]
    low, high = math.log(min(ends)), math.log(max(ends))

    def place(x: float) -> int:
        return round((math.log(x) - low) / max(high - low, 1e-12) * BAR)

    rows = [["input", "from", "to", "", "low", "high"]]
    for s in found.swings:
        a, b = sorted((s.at_low[metric], s.at_high[metric]))
        bar = "".join(
            "|" if i == place(found.value[metric]) else "#" if place(a) <= i <= place(b) else " "
            for i in range(BAR + 1)
        )
        rows.append(
            [s.name, _shown(cost, s.name, s.range.low), _shown(cost, s.name, s.range.high), bar, show(a), show(b)]
        )
    what = "an output token, per million" if metric == "output_usd" else "an output token"
    head = f"uncertainty of {what}: {show(found.value[metric])} with idle time in it, logarithmic scale"
    made = [head, *("  " + line for line in table(rows, left=(0, 3)))]
    a, b = found.joint[metric]
    made.append(f"  all together {show(a)} to {show(b)} (5 and 95% of {found.samples:,} samples, seed {found.seed})")
    for name, label in (("output_joules", "J"), ("output_grams", "g CO2e a million")):
        if name in found.joint and name != metric:
            a, b = found.joint[name]
            made.append(f"  output token: {found.value[name]:.3g} {label}, {a:.3g} to {b:.3g}")
    made += [f"  {s.name}: {s.range.origin}" for s in found.swings]
    return made
