"""What the model says of a measured row: the same load on the same deployment, in the same units."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pertoken.calibrate.cells import Refused
from pertoken.calibrate.rows import BUSY, METRICS, Row
from pertoken.cost import Interval
from pertoken.engine.deployment import Deployment
from pertoken.engine.roofline import bounds
from pertoken.errors import DoesNotFit, PertokenError
from pertoken.money.energy import Draw, working_watts
from pertoken.serving.closed import MOST_REQUESTS, closed_run
from pertoken.serving.lengths import Lengths
from pertoken.serving.operating import Operating, operate
from pertoken.serving.static import Static, static_batch
from pertoken.serving.steady import Steady
from pertoken.serving.trace import lengths_from_text
from pertoken.serving.workload import Goals, Workload

BURST = 0.5  # of TTFT: where a lone request needs less, the rest is queueing in a burst
UNPREDICTED = "no steady state: the request rate is more than the deployment serves"


@dataclass(frozen=True)
class Resolved:
    """A deployment for a row, what had to be assumed for it, and intervals by load that are a regime of their own."""

    deployment: Deployment
    family: str
    assumed: tuple[str, ...] = ()
    draw: Draw | None = None
    regimes: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """A row beside what the model says.

    Parameters
    ----------
    row : Row
        What was measured.
    family : str
        The model's family.
    measured : mapping of str to float
        Figures by metric, SI units; energy included where power was measured.
    predicted : mapping of str to Interval
        The same from the model; low and high are its 90% interval.
    refused : mapping of str to str
        Why a figure was not predicted, by metric.
    assumed : tuple of str
        What neither the row nor its source states.
    """

    row: Row
    family: str
    measured: Mapping[str, float]
    predicted: Mapping[str, Interval]
    refused: Mapping[str, str] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()

    def error(self, metric: str) -> float:
        """Predicted over measured, less 1."""
        return self.predicted[metric].value / self.measured[metric] - 1.0


def _spread(state: Steady) -> tuple[float, float]:
    """Factors on a steady state's times at perfect overlap and at none."""
    totals = [0.0, 0.0, 0.0]
    for kind in state.kinds:
        low, high = bounds(kind.ops)
        for i, seconds in enumerate((kind.seconds, low, high)):
            totals[i] += float(kind.share * seconds)
    return totals[1] / totals[0], totals[2] / totals[0]


def _interval(value: float, low: float, high: float) -> Interval:
    return Interval(value, min(value * low, value), max(value * high, value))


def _of_steady(found: Operating, deployment: Deployment, row: Row, draw: Draw | None) -> dict[str, Interval]:
    """TTFT, TPOT and throughput of an operating point."""
    state, moments = found.state, found.moments
    low, high = _spread(state)
    rate = deployment.split.lanes * found.lanes_busy * float(state.rate)
    if row.load == "open":
        rate = row.amount
    tokens = _counted(row, float(moments.input), float(moments.output))
    values = {
        "ttft": _interval(found.ttft_s, low, high),
        "throughput": _interval(rate * tokens, 1.0 / high, 1.0 / low),
    }
    if moments.decoded > 0:
        values["tpot"] = _interval(float(state.tpot_s), low, high)
    return values | _energy(deployment, _interval(1.0 / (rate * float(moments.output)), low, high), draw, found.state)


def _learned(values: dict[str, Interval], resolved: Resolved, row: Row) -> dict[str, Interval]:
    """The same with the intervals of the engine's profile, of the accelerator's power and of regimes of their own."""
    deployment, draw = resolved.deployment, resolved.draw
    step = deployment.interval("tpot")
    ends = {"ttft": deployment.interval("ttft"), "tpot": step, "energy": draw.interval if draw else step}
    ends["throughput"] = (1.0 / step[1], 1.0 / step[0]) if step else None
    ends |= resolved.regimes.get("busy" if row.load == "closed" and row.amount > BUSY else row.load, {})
    return {
        name: Interval(v.value, v.value * found[0], v.value * found[1]) if (found := ends[name]) else v
        for name, v in values.items()
    }


def _counted(row: Row, input_tokens: float, output_tokens: float) -> float:
    """What one request adds to the row's throughput."""
    return {"total": input_tokens + output_tokens, "requests": 1.0}.get(row.counts, output_tokens)


def _energy(
    deployment: Deployment, seconds: Interval, draw: Draw | None = None, state: Steady | None = None
) -> dict[str, Interval]:
    """Joules of the accelerators per output token: at the state's power, or board power where there is no state."""
    board = deployment.accelerator.board_power
    if draw is not None and state is not None:
        return {"energy": seconds.scaled(float(working_watts(deployment, state, draw)) * deployment.accelerators)}
    return {"energy": seconds.scaled(board.value * deployment.accelerators)} if board else {}


def _of_static(found: Static, deployment: Deployment, row: Row, lengths: Lengths) -> dict[str, Interval]:
    """TTFT, TPOT and throughput of a batch served at once."""
    outputs = row.amount * float(lengths.output.mean())
    tokens = row.amount * _counted(row, float(lengths.input.mean()), float(lengths.output.mean()))
    seconds = _interval(found.seconds, found.low, found.high)
    values = {
        # a static benchmark times its first token when the whole batch is prefilled
        "ttft": _interval(found.prefill_s if row.load == "static" else found.ttft_s, found.low, found.high),
        "throughput": Interval(tokens / seconds.value, tokens / seconds.high, tokens / seconds.low),
    }
    if math.isfinite(found.tpot_s):
        values["tpot"] = _interval(found.tpot_s, found.low, found.high)
    return values | _energy(deployment, seconds.scaled(1.0 / outputs))


def _of_run(found: Operating, deployment: Deployment, row: Row, lengths: Lengths) -> dict[str, Interval]:
    """Throughput of an offline run of a stated number of requests.

    The first to be admitted and the last to finish are served as a static batch of what is resident at once; those
    between keep the engine in its steady state.
    """
    low, high = _spread(found.state)
    resident = min(row.requests, max(1.0, float(found.state.resident) * deployment.split.lanes))
    rate = deployment.split.lanes * float(found.state.rate)
    seconds = static_batch(deployment, lengths, resident).seconds + (row.requests - resident) / rate
    tokens = row.requests * _counted(row, float(found.moments.input), float(found.moments.output))
    return {"throughput": _interval(tokens / seconds, 1.0 / high, 1.0 / low)}


def _of_closed(
    found: Operating, deployment: Deployment, row: Row, lengths: Lengths, draw: Draw | None
) -> dict[str, Interval]:
    """TTFT, TPOT and throughput of a finite closed loop; its bounds are those of the steady state."""
    low, high = _spread(found.state)
    run = closed_run(deployment, lengths, row.amount)
    rate = deployment.split.lanes * found.lanes_busy * run.requests / run.seconds
    values = {
        "ttft": _interval(run.ttft_s, low, high),
        "throughput": _interval(rate * _counted(row, run.input, run.output), 1.0 / high, 1.0 / low),
    }
    if math.isfinite(run.tpot_s):
        values["tpot"] = _interval(run.tpot_s, low, high)
    return values | _energy(deployment, _interval(1.0 / (rate * run.output), low, high), draw, found.state)


def queues(deployment: Deployment, lengths: Lengths, in_flight: float) -> bool:
    """Whether most of a closed loop's time to first token is waiting for prompts sent with it: a request alone in the
    system is predicted to take less than half of it.
    """
    alone, together = (closed_run(deployment, lengths, n).ttft_s for n in (1.0, max(in_flight, 1.0)))
    return alone < BURST * together


def _workload(row: Row, lengths: Lengths) -> Workload:
    goals = Goals(*row.goals)
    if row.load in ("closed", "alone"):
        return Workload(lengths=lengths, concurrency=max(1.0, row.amount), goals=goals)
    if row.load == "open":
        return Workload(lengths=lengths, rps=row.amount, goals=goals)
    return Workload(lengths=lengths, goals=goals)


def predict(row: Row, deployment: Deployment, draw: Draw | None = None) -> dict[str, Interval]:
    """Figures of a row by metric, SI units.

    Raises
    ------
    PertokenError
        When the load is none that the model can place.
    """
    lengths = lengths_from_text(row.input, row.output)
    # benchmarks run beyond a model's stated limit too: it changes no time
    longest = int(lengths.longest) + 1
    if longest > deployment.model.context_limit:
        deployment = replace(deployment, model=replace(deployment.model, context_limit=longest))
    if row.load in ("static", "burst"):
        return _of_static(static_batch(deployment, lengths, row.amount), deployment, row, lengths)
    try:
        found = operate(deployment, _workload(row, lengths))
        if row.load == "closed" and row.amount / deployment.split.lanes <= MOST_REQUESTS // 2:
            return _of_closed(found, deployment, row, lengths, draw)
        if math.isfinite(row.requests):
            return _of_run(found, deployment, row, lengths)
        return _of_steady(found, deployment, row, draw)
    except DoesNotFit:
        raise
    except PertokenError as error:
        if row.load != "open" or "can serve" not in str(error):
            raise
        # a finite run beyond capacity fills the engine: its TPOT is that of the full engine, its TTFT has no mean
        found = operate(deployment, Workload(lengths=lengths))
        return {"tpot": _of_steady(found, deployment, row, draw)["tpot"]}


def measured_energy(row: Row, deployment: Deployment) -> float | None:
    """Joules per output token from the mean power that a row states, None when it states none [J]."""
    if row.load not in ("static", "burst") or not math.isfinite(row.latency_s):
        return None
    board = deployment.accelerator.board_power
    watts = row.watts if math.isfinite(row.watts) else math.nan
    if math.isfinite(row.power_share) and board:
        watts = row.power_share * board.value * deployment.accelerators
    if not math.isfinite(watts):
        return None
    outputs = row.amount * float(lengths_from_text(row.input, row.output).output.mean())
    return watts * row.latency_s / outputs


def impossible(row: Row, deployment: Deployment) -> str:
    """Why a row's figures contradict the datasheet; empty when they do not.

    Every token needs 2 FLOP for each parameter at work, and every decode step of a dense model reads all weights once,
    whatever the engine. A closed loop's requests per second follow from TTFT, TPOT and concurrency (Little's law).
    """
    moments = lengths_from_text(row.input, row.output).moments()
    if row.load == "closed" and {"ttft", "tpot"} <= set(row.measured):
        seconds, steps = row.measured["ttft"] + moments.decoded * row.measured["tpot"], 0.0
    elif row.load == "static" and "throughput" in row.measured:
        tokens = row.amount * _counted(row, float(moments.input), float(moments.output))
        seconds, steps = tokens / row.measured["throughput"], float(moments.decoded)
    else:
        return ""
    a, model = deployment.accelerator, deployment.model
    best = max(a.peak(a.compute_for(deployment.precision.of(role))) for role in ("attention", "feedforward", "experts"))
    flop = row.amount * (moments.input + moments.decoded) * 2.0 * (model.matmul_parameters - model.hidden * model.vocab)
    if flop / (best * deployment.accelerators) > seconds:
        return "more arithmetic than the datasheet's peak: the row's figures cannot all hold"
    dense = model.active_parameters == model.parameters
    head = model.embedding_parameters * deployment.precision.of("embedding").bytes
    read = (deployment.weight_bytes - head) * (1.0 if deployment.split.pp == 1 else deployment.split.pp)
    if dense and steps * read / a.bandwidth.value > seconds:
        return "more bytes of weights than the datasheet's bandwidth: the row's figures cannot all hold"
    return ""


class Predictor:
    """Predicts rows, each deployment and each load once.

    Parameters
    ----------
    resolve : callable
        Row to `Resolved`; raises `PertokenError` where names are unknown or the model does not fit.
    """

    def __init__(self, resolve: Callable[[Row], Resolved]) -> None:
        self.resolve = resolve
        self._resolved: dict[Hashable, Resolved | Refused] = {}
        self._values: dict[Hashable, dict[str, Interval] | Refused] = {}

    def __call__(self, row: Row) -> Prediction:
        """The row's prediction.

        Raises
        ------
        Refused
            With the reason.
        """
        place = (row.model, row.accelerator, row.count, tuple(sorted(row.split.items())), row.weights, row.kv, row.engine,
                 row.load in ("static", "burst"), row.load == "saturated", row.cells.get("source", ""), row.version, row.date,
                 str(row.settings))  # fmt: skip
        found = _once(self._resolved, place, lambda: self.resolve(row), "misfit")
        key = (place, row.input, row.output, row.load, row.amount, row.goals, row.counts, str(row.requests))
        values = _once(
            self._values, key, lambda: _learned(predict(row, found.deployment, found.draw), found, row), "unmodelled"
        )
        measured = dict(row.measured)
        energy = measured_energy(row, found.deployment)
        if energy is not None:
            measured.setdefault("energy", energy)
        flag = row.flag or impossible(row, found.deployment)
        refused = {m: UNPREDICTED for m in METRICS if m in measured and m not in values}
        return Prediction(
            replace(row, flag=flag), found.family, measured, values, refused, (*row.assumed, *found.assumed)
        )


def _once(known: dict[Hashable, Any], key: Hashable, make: Callable[[], Any], kind: str) -> Any:
    """What ``make`` gave or refused the first time."""
    if key not in known:
        try:
            known[key] = make()
        except Refused as error:
            known[key] = error
        except DoesNotFit as error:
            known[key] = Refused("does not fit the accelerators' memory", "misfit", str(error))
        except PertokenError as error:
            known[key] = Refused(str(error).split(";")[0][:200], kind, str(error))
        except (ArithmeticError, ValueError, OverflowError) as error:
            known[key] = Refused(f"no finite answer ({type(error).__name__})", "unmodelled")
    found = known[key]
    if isinstance(found, Refused):
        raise Refused(str(found), found.kind, found.detail)
    return found
