"""What a measurement is held against: the deployment that knobs describe, its rate, and what the model says of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pertoken.errors import DoesNotFit, PertokenError

if TYPE_CHECKING:
    from pertoken.calibrate.predict import Prediction
    from pertoken.calibrate.rows import Row
    from pertoken.cost import Cost
    from pertoken.engine.deployment import Deployment
    from pertoken.measure.runs import Run
    from pertoken.money.rate import Rate


@dataclass(frozen=True)
class Setting:
    """The knobs of a machine and a model.

    Parameters
    ----------
    knobs : mapping
        Those that were given, the model included where it is known.
    why_not : str
        Why there is nothing to compare with; empty when there is.
    """

    knobs: Mapping[str, Any] = field(default_factory=dict)
    why_not: str = ""

    def _resolver(self, input_tokens: float, output: float, **traffic: Any) -> Any:
        from pertoken.knobs import read_knobs
        from pertoken.scenario import Resolver
        from pertoken.serving.workload import Goals, Workload

        goals = Goals(math.inf, math.inf)
        work = Workload(input=max(1, round(input_tokens)), output=max(1, round(output)), goals=goals, **traffic)
        return Resolver(read_knobs(dict(self.knobs)), work)

    def placed(self, longest: float = 16.0) -> tuple[Deployment, Rate | None, list[str]]:
        """The deployment, its rate, and what was assumed."""
        resolver = self._resolver(longest, 1, concurrency=1)
        deployment, rate, missing = resolver.deployment(resolver.precision())
        notes = [*resolver.assumed, *resolver.checkpoint.assumed, *deployment.assumed, *([missing] if missing else [])]
        return deployment, rate, notes

    def cost(self, run: Run) -> Cost | None:
        """What the model says a run costs; None where it cannot be placed."""
        cached = run.cached / run.input if run.cached > 0 else 0.0
        traffic = {"concurrency": run.concurrency} if run.concurrency >= 1 else {"rps": run.rate}
        try:
            return self._resolver(run.input, run.output, cached=cached, **traffic).price()  # type: ignore[no-any-return]
        except PertokenError:
            return None


def setting(model: str, given: Mapping[str, Any], told: str = "") -> Setting:
    """The setting that a name of a model and knobs make.

    Parameters
    ----------
    model : str
        As the user names it; empty where the user does not.
    given : mapping
        Knobs of the machine; those that are None were not given.
    told : str
        As a file or a server names it, which need be no name of the catalog.
    """
    knobs = {name: value for name, value in given.items() if value is not None}
    if not model and told and not is_known(told):
        return Setting(
            knobs, f"{told[:60]!r} is no model of the catalog: give --as MODEL to hold it against the prediction"
        )
    model = model or told
    if not model:
        return Setting(knobs, "no model is named: give --as MODEL to hold it against the prediction")
    if "on" not in knobs and "efficiency" not in knobs:
        return Setting(knobs, "no machine is named: give --on NxACCELERATOR to hold it against the prediction")
    return Setting({"model": spelled(model), **knobs})


def spelled(model: str) -> str:
    """A catalog name for a model where its spelling leads to one, else the text itself."""
    from pathlib import Path

    from pertoken.catalog import files, measured

    if files.find_name("models", model) or Path(model).expanduser().exists():
        return model
    return measured.load_names().spelling.model(model) or model


def is_known(model: str) -> bool:
    """Whether a name leads to a model."""
    from pertoken.catalog.models import load_checkpoint

    try:
        return bool(load_checkpoint(spelled(model)))
    except PertokenError:
        return False


def row_of(run: Run, deployment: Deployment) -> Row | None:
    """A run as a measured row; None where it states no traffic that can be placed."""
    from pertoken.calibrate.rows import Row

    kinds = (("closed", run.concurrency), ("open", run.rate), ("burst", run.together))
    kind, amount = next(((kind, amount) for kind, amount in kinds if amount > 0), ("", 0.0))
    if not kind:
        return None
    first, second = (f"{max(1, round(n)):d}" if n > 0 else "1" for n in (run.input, run.output))
    return Row(
        line=1, cells={"source": run.tool, "date": run.date, "engine_version": run.version}, engine=deployment.profile.name,
        model=deployment.model.name, accelerator=deployment.accelerator.name, count=deployment.accelerators, split={},
        weights="", kv="", input=first, output=second, load=kind, amount=amount, measured=run.measured,
    )  # fmt: skip


@dataclass(frozen=True)
class Held:
    """A run beside the prediction.

    Parameters
    ----------
    run : Run
        What was measured.
    predicted : mapping of str to Interval
        By metric.
    cost : Cost or None
        What the model says that it costs.
    rate : Rate or None
        Of one accelerator.
    accelerators : int
        How many.
    notes : tuple of str
        What a reader must know.
    """

    run: Run
    predicted: Mapping[str, Any] = field(default_factory=dict)
    cost: Any = None
    rate: Any = None
    accelerators: int = 0
    notes: tuple[str, ...] = ()

    def error(self, metric: str) -> float:
        """Predicted over measured, less 1."""
        return float(self.predicted[metric].value / self.run.measured[metric] - 1.0)

    @property
    def per_million(self) -> dict[str, dict[str, float]]:
        """Dollars per million tokens by kind: ``measured`` and ``predicted`` [$].

        The measured bill is shared as the model shares its own; nothing measures how a joint bill splits.
        """
        run, cost = self.run, self.cost
        if self.rate is None or cost is None or not (run.throughput > 0 and run.output > 0):
            return {}
        served = float(cost.requests_per_s) / (run.throughput / run.output)
        found = {}
        for kind, count in cost.tokens_per_request.items():
            value = float(getattr(cost.per_million, kind).value)
            if count > 0 and math.isfinite(value):
                found[kind] = {"measured": value * served, "predicted": value}
        return found


def hold(run: Run, where: Setting) -> Held:
    """A run against the prediction, with the reasons where there is none."""
    if where.why_not:
        return Held(run, notes=(where.why_not,))
    try:
        deployment, rate, _ = where.placed(run.input + max(run.output, 1.0))
        predicted, notes = _predicted(run, deployment)
    except DoesNotFit as error:
        return Held(run, notes=(f"not predicted: {error}",))
    cost = where.cost(run) if run.concurrency >= 1 or run.rate > 0 else None
    return Held(run, predicted, cost, rate, deployment.accelerators, notes)


def _predicted(run: Run, deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    from pertoken.calibrate.predict import Predictor, Resolved
    from pertoken.catalog.power import load_draw
    from pertoken.measure.formats import llama_bench

    if run.tool == llama_bench.TOOL and not run.throughput > 0:
        return _of_bench(run, deployment), ()
    if run.concurrency > deployment.profile.max_sequences.value and deployment.profile.name == "llamacpp":
        room = replace(deployment.profile.max_sequences, value=run.concurrency, note="as many as asked for")
        deployment = replace(deployment, profile=replace(deployment.profile, max_sequences=room))
    row = row_of(run, deployment)
    if row is None:
        return {}, ("not predicted: the file states neither concurrency nor request rate",)
    draw = None if row.load == "burst" else load_draw(deployment.accelerator, deployment.profile.kernels[-1])
    try:
        found: Prediction = Predictor(lambda _: Resolved(deployment, "other", (), draw))(row)
    except DoesNotFit:
        raise
    except PertokenError as error:
        return {}, (f"not predicted: {error}",)
    notes = [f"{m}: {why}" for m, why in found.refused.items()]
    notes += [f"look at it: {found.row.flag}"] if found.row.flag else []
    if run.cached > 0:
        notes.append(
            f"{run.cached / run.input:.0%} of the input was cached; times are predicted as if it were computed"
        )
    return {m: v for m, v in found.predicted.items() if m in run.measured}, tuple(notes)


def _of_bench(run: Run, deployment: Deployment) -> dict[str, Any]:
    """A prompt or generation of one sequence, at a depth."""
    from pertoken.cost import Interval
    from pertoken.measure.expected import decode_step, first_token

    if run.ttft > 0:
        seconds = first_token(deployment, run.input - run.cached, run.cached)
        seconds -= deployment.profile.request_delay.value  # no request is sent
        metric = "ttft"
    else:
        seconds, metric = decode_step(deployment, 1.0, run.cached + run.output / 2.0), "tpot"
    low, high = deployment.interval(metric) or (1.0, 1.0)
    return {metric: Interval(seconds, seconds * low, seconds * high)}
