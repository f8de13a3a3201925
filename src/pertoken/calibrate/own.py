r"""Calibrate one accelerator under one engine with a handful of own measured rows.

Three numbers at most are fitted, each with a meaning: the own share of the memory rate and of the arithmetic peak, over
the shares that ship, and the host seconds of a step. Residuals are logarithms of predicted over measured; the prior is
what ships, so a single row moves only what it can. Host time is fitted only where batches differ and the rows tell it
from the memory rate.

Fitted are TPOT, throughput where a row has no TPOT, and TTFT where it times a prefill: one request in flight, or a static
batch. TTFT under load is mostly queueing, which no share of a peak explains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from pertoken.calibrate.limits import too_fast
from pertoken.calibrate.predict import Prediction, Resolved, predict
from pertoken.calibrate.robust import Array, Fit, Prior, solve
from pertoken.calibrate.rows import Row
from pertoken.calibrate.validate import Validation, where
from pertoken.engine.calibration import MOST_SCALE
from pertoken.engine.deployment import Deployment
from pertoken.engine.factor import EngineFactor
from pertoken.errors import PertokenError

SIGMA = 0.05  # log error of a good row: repeated runs and rounding, assumed
# log error of efficiencies carried from the nearest accelerator, docs/calibration.md: .13 to .19, up to .48 for L40S
SPREAD = 0.3
HOST_SPREAD = 2e-3  # s; host times of a step in the profiles are 0 to 0.6 ms, older engines' up to 10
MOST_HOST = 0.1  # s
TOLD = 0.25  # standard error over prior spread up to which rows tell the host's time
BATCHES = 2.0  # largest over smallest batch from which they can
OTHER_UNIT = math.log(MOST_SCALE)
APART = 1.3  # two rows of one setting that differ by more contradict each other
NAMES = ("memory", "compute", "host_step")


@dataclass(frozen=True)
class Sample:
    """A row that can be fitted.

    Parameters
    ----------
    row : Row
        What was measured.
    deployment : Deployment
        Under the efficiencies that ship.
    fitted, shown : tuple of str
        Metrics that teach, and those that are compared only.
    """

    row: Row
    deployment: Deployment
    fitted: tuple[str, ...]
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Parameter:
    """One fitted number.

    Parameters
    ----------
    name : str
        ``memory``, ``compute`` (own over shipped share [1]) or ``host_step`` [s].
    before, value, error : float
        What ships, what the rows say, and its standard error; before and value equal, error NaN where rows cannot tell.
    """

    name: str
    before: float
    value: float
    error: float


@dataclass
class Own:
    """A calibration with its evidence.

    Parameters
    ----------
    accelerator, engine : str
        Of the rows.
    samples : list of Sample
        Rows that were fitted.
    parameters : list of Parameter
        What came out.
    before, after, without : list of mapping
        Predicted figures of each sample by metric: as shipped, fitted, and fitted without that row.
    dropped : list of (str, str)
        Rows left out, and why.
    notes : list of str
        What the user should know.
    refused : str
        Why nothing was fitted; empty when it was.
    shares : mapping
        Shipped share of the memory rate and of the arithmetic peak in large products, and the weights' format.
    """

    accelerator: str
    engine: str
    samples: list[Sample] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    before: list[dict[str, float]] = field(default_factory=list)
    after: list[dict[str, float]] = field(default_factory=list)
    without: list[dict[str, float]] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    shares: dict[str, float | str] = field(default_factory=dict)

    def errors(self, metric: str, predicted: Sequence[dict[str, float]], fitted: bool) -> list[float]:
        """Predicted over measured less 1, of the samples that have both; of the fitted figures, or of those only shown."""
        return [
            p[metric] / s.row.measured[metric] - 1.0
            for s, p in zip(self.samples, predicted, strict=False)
            if metric in p and metric in (s.fitted if fitted else s.shown)
        ]

    def parameter(self, name: str) -> Parameter:
        """One of the fitted numbers."""
        return next(p for p in self.parameters if p.name == name)


def chosen(found: Validation, accelerator: str, engine: str, resolve: Callable[[Row], Resolved]) -> Own:
    """The rows of one accelerator and engine, those that cannot be fitted left out with the reason.

    Parameters
    ----------
    found : Validation
        All rows, predicted as shipped.
    accelerator, engine : str
        Catalog names; empty takes the only one there is.
    resolve : callable
        Row to its deployment.

    Raises
    ------
    PertokenError
        When there are none, or several kinds and none was named.
    """
    placed = [(p, resolve(p.row).deployment) for p in found.predictions]
    kinds: dict[tuple[str, str], int] = {}
    for _, d in placed:
        kinds[d.accelerator.name, d.profile.name] = kinds.get((d.accelerator.name, d.profile.name), 0) + 1
    asked = [kind for kind in kinds if accelerator in ("", kind[0]) and engine in ("", kind[1])]
    listed = ", ".join(f"{a} under {e} ({n:,} row{'s' * (n > 1)})" for (a, e), n in sorted(kinds.items()))
    why = "; ".join(f"{reason} ({found.examples[source, kind, reason]})" for source, kind, reason in found.reasons)
    if not kinds:
        raise PertokenError(f"no row can be used: {why[:500] or 'the file has none'}; columns: docs/validation.md")
    if not asked:
        raise PertokenError(
            f"no row is of {' under '.join(filter(None, (accelerator, engine)))}; the file has {listed}"
        )
    if len(asked) > 1:
        options = " and ".join(
            [f"--on {asked[0][0]}"] * (len({a for a, _ in asked}) > 1)
            + [f"--engine {asked[0][1]}"] * (len({e for _, e in asked}) > 1)
        )
        raise PertokenError(
            f"rows of several accelerators or engines: {listed}; a calibration is of one: pick it, such as with {options}"
        )
    own = Own(*asked[0])
    own.dropped = [(found.examples[key], key[2]) for key in found.reasons]
    for p, d in placed:
        if (d.accelerator.name, d.profile.name) == asked[0]:
            _place(own, p, d)
        else:
            own.dropped.append((where(p.row.cells, p.row.line), f"{d.accelerator.name} under {d.profile.name}"))
    return own


def _place(own: Own, p: Prediction, deployment: Deployment) -> None:
    row = replace(p.row, measured={m: v for m, v in p.measured.items() if m in p.predicted})
    reason = row.flag or too_fast(row, deployment)
    fitted = tuple(m for m in ("ttft", "tpot", "throughput") if m in row.measured and _teaches(row, m))
    if not reason and not fitted:
        reason = "TTFT under load, or a rate that was given, tells of no share of a peak"
    if reason:
        own.dropped.append((where(row.cells, row.line), reason))
        return
    shown = tuple(m for m in row.measured if m not in fitted and m != "energy")
    own.samples.append(Sample(row, deployment, fitted, shown))
    own.before.append({m: p.predicted[m].value for m in (*fitted, *shown)})


def _teaches(row: Row, metric: str) -> bool:
    """Whether a figure tells of kernels and the host rather than of queues or of what was asked for."""
    if metric == "ttft":
        return row.load in ("alone", "static") or (row.load == "closed" and row.amount <= 1)
    if metric == "throughput":
        return row.load != "open" and "tpot" not in row.measured
    return True


def calibrate(own: Own) -> Own:
    """Fit the rows that `chosen` found; says in ``refused`` where that would be wrong."""
    if not own.samples:
        own.refused = "no row is left to fit"
        return own
    own.refused = _other_unit(own)
    if own.refused:
        return own
    own.notes += _contradictions(own.samples)
    profile = own.samples[0].deployment.profile
    host = profile.host_step.value
    own.shares = _shares(own.samples)
    prior = Prior(
        np.array([0.0, 0.0, host]),
        np.array([SPREAD, SPREAD, HOST_SPREAD]),
        np.array([-OTHER_UNIT, -OTHER_UNIT, 0.0]),
        np.array([_room(own.shares["memory"]), _room(own.shares["compute"]), MOST_HOST]),
    )
    fit, prior, why = _fit(own.samples, prior)
    own.notes += [why] if why else []
    own.parameters = _parameters(fit, host)
    own.after = [_predicted(s, fit.theta) for s in own.samples]
    if len(own.samples) > 1:
        owner = _owner(own.samples)
        own.without = [_predicted(s, fit.without(owner == i, prior)) for i, s in enumerate(own.samples)]
    else:
        own.notes.append("one row: it moves only what it can, and nothing is left to test the fit with; measure more")
    own.notes += _notes(fit, prior)
    return own


def _fit(samples: Sequence[Sample], prior: Prior) -> tuple[Fit, Prior, str]:
    """With host time where rows tell it, else without; the prior used, and why not."""
    share = np.array([1.0 / len(s.fitted) for s in samples for _ in s.fitted])

    def run(size: int) -> tuple[Fit, Prior]:
        known = Prior(*(getattr(prior, name)[:size] for name in ("mean", "spread", "low", "high")))
        return solve(lambda theta: _residuals(samples, theta), known, SIGMA, share), known

    batches = [s.row.amount for s in samples if s.row.load in ("closed", "static", "alone", "burst")]
    if len(samples) < 3 or not batches or max(batches) < BATCHES * min(batches):
        return *run(2), "host time a step is kept: rows of different batches would be needed to tell it"
    fit, known = run(3)
    if fit.error[2] <= TOLD * HOST_SPREAD:
        return fit, known, ""
    return *run(
        2
    ), "host time a step is kept: these rows do not tell it from the memory rate; measure a smaller model too"


def _room(share: float | str) -> float:
    """Largest log scale at which a share of a peak stays a share."""
    return min(OTHER_UNIT, -math.log(float(share)))


def _predicted(sample: Sample, theta: Array) -> dict[str, float]:
    """Figures of a row at some parameters; none where the model has no answer there."""
    d = sample.deployment
    scale = EngineFactor(*(min(MOST_SCALE, math.exp(-v)) for v in theta[:2]))
    profile = d.profile
    if theta.size > 2:
        profile = replace(profile, host_step=replace(profile.host_step, value=float(theta[2])))
    try:
        found = predict(sample.row, replace(d, chooser=replace(d.chooser, assumed=[], scale=scale), profile=profile))
    except PertokenError:
        return {}
    return {m: found[m].value for m in (*sample.fitted, *sample.shown) if m in found}


def _residuals(samples: Sequence[Sample], theta: Array) -> Array:
    """log(predicted / measured) of every fitted figure."""
    values = []
    for s in samples:
        found = _predicted(s, theta)
        values += [math.log(found[m] / s.row.measured[m]) if m in found else math.nan for m in s.fitted]
    return np.array(values)


def _owner(samples: Sequence[Sample]) -> Array:
    return np.array([i for i, s in enumerate(samples) for _ in s.fitted])


def _parameters(fit: Fit, host: float) -> list[Parameter]:
    """Scales from their logarithms, and the host's time where it was fitted."""
    found = [
        Parameter(name, 1.0, float(np.exp(fit.theta[i])), float(np.exp(fit.theta[i]) * fit.error[i]))
        for i, name in enumerate(NAMES[:2])
    ]
    told = fit.theta.size > 2
    host_step = Parameter("host_step", host, float(fit.theta[2]), float(fit.error[2])) if told else None
    return [*found, host_step or Parameter("host_step", host, host, math.nan)]


def _shares(samples: Sequence[Sample]) -> dict[str, float | str]:
    """Shipped shares that large products of the commonest weights' format reach."""
    forms = [s.deployment.precision.of("feedforward").name for s in samples]
    name = max(forms, key=forms.count)
    d = samples[forms.index(name)].deployment
    form = d.precision.of("feedforward")
    chooser = replace(d.chooser, assumed=[])
    kernel = "fp8_block" if name == "fp8" and d.precision.blocks else name
    record = chooser.kernel("matmul", kernel, d.accelerator.compute_for(form))
    return {"memory": record.bandwidth, "compute": record.peak, "format": name}


def _other_unit(own: Own) -> str:
    """Why the figures cannot be of this machine in these units; empty when they can."""
    for metric in ("tpot", "ttft", "throughput"):
        errors = own.errors(metric, own.before, True)
        if errors and abs(math.log(ratio := float(np.median([1.0 / (1.0 + e) for e in errors])))) > OTHER_UNIT:
            times = f"{ratio:,.3g}" if ratio > 1 else f"{ratio:.2g}"
            return (
                f"measured {metric.upper() if metric != 'throughput' else metric} is {times} times the prediction (median of"
                f" {len(errors)} figure{'s' * (len(errors) > 1)}); a calibration reaches from 1/{MOST_SCALE:g} to {MOST_SCALE:g}"
                " times: is it in another unit (docs/validation.md), or of another model or machine?"
            )
    return ""


def _contradictions(samples: Sequence[Sample]) -> list[str]:
    """Pairs of rows that measured the same setting and disagree."""
    found = []
    for a, b in combinations(samples, 2):
        same = all(
            getattr(a.row, k) == getattr(b.row, k) for k in ("model", "input", "output", "load", "amount", "counts")
        )
        if not same or a.deployment.split != b.deployment.split or a.deployment.precision != b.deployment.precision:
            continue
        for m in set(a.fitted) & set(b.fitted):
            ratio = max(a.row.measured[m] / b.row.measured[m], b.row.measured[m] / a.row.measured[m])
            if ratio > APART:
                found.append(
                    f"lines {a.row.line} and {b.row.line} measured the same and differ by {ratio - 1.0:.0%} in {m}: both kept,"
                    " look at them"
                )
    return found


def _notes(fit: Fit, prior: Prior) -> list[str]:
    """What the numbers alone do not say."""
    notes = []
    for i, what in enumerate(("memory rate", "arithmetic peak")):
        if fit.error[i] > 0.7 * prior.spread[i]:
            notes.append(f"these rows hardly tell the share of the {what}: it stays near what ships")
        if fit.theta[i] >= prior.high[i] - 1e-9:
            notes.append(f"the rows ask for more than all of the datasheet's {what}: the datasheet's figure is taken")
        if fit.theta[i] <= prior.low[i] + 1e-9:
            notes.append(
                f"the rows ask for less than 1/{MOST_SCALE:g} of the shipped share of the {what}: look at them"
            )
    return notes
