"""What a measurement is held against: the deployment that knobs describe, its rate, and what the model says of a load."""

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
    from pertoken.measure.loads import Load
    from pertoken.money.rate import Rate

MACHINE = (
    "on",
    "dtype",
    "kv_dtype",
    "engine",
    "tp",
    "pp",
    "ep",
    "dp",
    "token_budget",
    "max_sequences",
    "efficiency",
    "rate",
)


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

    def cost(self, load: Load) -> Cost | None:
        """What the model says a load costs; None where it cannot be placed."""
        cached = load.cached / load.input if load.cached > 0 else 0.0
        traffic = {"concurrency": load.concurrency} if load.concurrency >= 1 else {"rps": load.rate}
        try:
            return self._resolver(load.input, load.output, cached=cached, **traffic).price()  # type: ignore[no-any-return]
        except PertokenError:
            return None


def setting(model: str, given: Mapping[str, Any]) -> Setting:
    """The setting that a name of a model and knobs make.

    Parameters
    ----------
    model : str
        As the user or a file names it; a file's spelling is brought to the catalog's.
    given : mapping
        Knobs of the machine; those that are None were not given.
    """
    knobs = {name: value for name, value in given.items() if value is not None}
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


def row_of(load: Load, deployment: Deployment) -> Row | None:
    """A load as a measured row; None where it states no traffic that can be placed."""
    from pertoken.calibrate.rows import Row

    kinds = (("closed", load.concurrency), ("open", load.rate), ("burst", load.together))
    kind, amount = next(((kind, amount) for kind, amount in kinds if amount > 0), ("", 0.0))
    if not kind:
        return None
    first, second = (f"{max(1, round(n)):d}" if n > 0 else "1" for n in (load.input, load.output))
    return Row(
        line=1, cells={"source": load.tool, "date": load.date, "engine_version": load.version}, engine=deployment.profile.name,
        model=deployment.model.name, accelerator=deployment.accelerator.name, count=deployment.accelerators, split={},
        weights="", kv="", input=first, output=second, load=kind, amount=amount, measured=load.measured,
    )  # fmt: skip


@dataclass(frozen=True)
class Held:
    """A load beside the prediction.

    Parameters
    ----------
    load : Load
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

    load: Load
    predicted: Mapping[str, Any] = field(default_factory=dict)
    cost: Any = None
    rate: Any = None
    accelerators: int = 0
    notes: tuple[str, ...] = ()

    def error(self, metric: str) -> float:
        """Predicted over measured, less 1."""
        return float(self.predicted[metric].value / self.load.measured[metric] - 1.0)

    @property
    def per_million(self) -> dict[str, dict[str, float]]:
        """Dollars per million tokens by kind: ``measured`` and ``predicted`` [$].

        The measured bill is shared as the model shares its own; nothing measures how a joint bill splits.
        """
        load, cost = self.load, self.cost
        if self.rate is None or cost is None or not (load.throughput > 0 and load.output > 0):
            return {}
        served = float(cost.requests_per_s) / (load.throughput / load.output)
        found = {}
        for kind, count in cost.tokens_per_request.items():
            value = float(getattr(cost.per_million, kind).value)
            if count > 0 and math.isfinite(value):
                found[kind] = {"measured": value * served, "predicted": value}
        return found


def hold(load: Load, where: Setting) -> Held:
    """A load against the prediction, with the reasons where there is none."""
    if where.why_not:
        return Held(load, notes=(where.why_not,))
    try:
        deployment, rate, _ = where.placed(load.input + max(load.output, 1.0))
        predicted, notes = _predicted(load, deployment)
    except DoesNotFit as error:
        return Held(load, notes=(f"not predicted: {error}",))
    cost = where.cost(load) if load.concurrency >= 1 or load.rate > 0 else None
    return Held(load, predicted, cost, rate, deployment.accelerators, notes)


def _predicted(load: Load, deployment: Deployment) -> tuple[dict[str, Any], tuple[str, ...]]:
    from pertoken.calibrate.predict import Predictor, Resolved
    from pertoken.catalog.power import load_draw
    from pertoken.measure.formats import llama_bench

    if load.tool == llama_bench.TOOL and not load.throughput > 0:
        return _of_bench(load, deployment), ()
    if load.concurrency > deployment.profile.max_sequences.value and deployment.profile.name == "llamacpp":
        room = replace(deployment.profile.max_sequences, value=load.concurrency, note="as many as asked for")
        deployment = replace(deployment, profile=replace(deployment.profile, max_sequences=room))
    row = row_of(load, deployment)
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
    if load.cached > 0:
        notes.append(
            f"{load.cached / load.input:.0%} of the input was cached; times are predicted as if it were computed"
        )
    return {m: v for m, v in found.predicted.items() if m in load.measured}, tuple(notes)


def _of_bench(load: Load, deployment: Deployment) -> dict[str, Any]:
    """A prompt or generation of one sequence, at a depth."""
    from pertoken.cost import Interval
    from pertoken.measure.expected import decode_step, first_token

    if load.ttft > 0:
        seconds = first_token(deployment, load.input - load.cached, load.cached)
        seconds -= deployment.profile.request_delay.value  # no request is sent
        metric = "ttft"
    else:
        seconds, metric = decode_step(deployment, 1.0, load.cached + load.output / 2.0), "tpot"
    low, high = deployment.interval(metric) or (1.0, 1.0)
    return {metric: Interval(seconds, seconds * low, seconds * high)}
