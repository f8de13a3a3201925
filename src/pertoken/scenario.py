"""From knobs to an answer: resolves names, fills in what was not given and says so, and prices the result."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pertoken.catalog import machines, traces
from pertoken.catalog.models import load_checkpoint
from pertoken.catalog.power import load_draw
from pertoken.catalog.rates import parse_rate
from pertoken.catalog.site import load_site
from pertoken.cost import Cost, price_deployment
from pertoken.engine.assumptions import assumptions
from pertoken.engine.deployment import DEFAULT_NETWORK, Deployment
from pertoken.engine.parallel import default_split
from pertoken.engine.profile import Profile
from pertoken.errors import PertokenError
from pertoken.hardware.accelerator import Accelerator
from pertoken.knobs import KNOBS, read_knobs
from pertoken.model.model import Checkpoint
from pertoken.model.precision import GGUF, Precision, number_format
from pertoken.money.currency import parse_currency
from pertoken.money.energy import IDLE_SHARE, Draw, flat
from pertoken.money.load import parse_utilisation
from pertoken.money.rate import Rate
from pertoken.money.site import Site
from pertoken.serving.lengths import Lengths
from pertoken.serving.trace import lengths_from_text
from pertoken.serving.workload import Goals, Workload
from pertoken.sizing import Sizing
from pertoken.sources import USER, Sourced
from pertoken.units import format_seconds

DEFAULT_TTFT, DEFAULT_TPOT = 2.0, 0.05  # s; goals of an attentive chat service, assumed
MOST_ACCELERATORS = 100_000
MOST_CASES = 200  # of one comparison
TRAFFIC = tuple(name for name, knob in KNOBS.items() if knob.group == "traffic")
_ON = re.compile(r"(?:(-?[0-9]+)\s*[x*]\s*)?(.+)", re.IGNORECASE)


@dataclass(frozen=True)
class Machine:
    """What ``--on`` says: an accelerator, and how many of it (None: the fewest that fit)."""

    accelerator: Accelerator
    count: int | None


def parse_on(text: str) -> Machine:
    """Read ``8xh100-sxm``, ``h100-sxm`` or ``4xmine.toml``.

    Raises
    ------
    PertokenError
        When the accelerator is unknown or the count out of range.
    """
    found = _ON.fullmatch(text.strip())
    if found is None:
        raise PertokenError(f"--on is {text[:60]!r}; write NxACCELERATOR, such as 8xh100-sxm")
    count = int(found[1][:9]) if found[1] else None  # more digits are too many anyway
    if count is not None and not 1 <= count <= MOST_ACCELERATORS:
        raise PertokenError(f"--on asks for {found[1][:20]} accelerators; it must be from 1 to {MOST_ACCELERATORS:,}")
    return Machine(machines.load_accelerator(found[2].strip()), count)


class Resolver:
    """Turns one set of knobs into a priced deployment, noting all that it assumes.

    Parameters
    ----------
    knobs : mapping
        Checked knobs, see `pertoken.knobs.read_knobs`.
    workload : Workload, optional
        What users send, where knobs do not say it.
    """

    def __init__(self, knobs: Mapping[str, Any], workload: Workload | None = None) -> None:
        self.knobs = knobs
        self.assumed: list[str] = []
        if "model" not in knobs:
            raise PertokenError("no model was given; name one from: pertoken list models, or a config.json")
        self.calibration = machines.load_calibration(knobs["efficiency"]) if "efficiency" in knobs else None
        if self.calibration and "on" not in knobs:
            self.knobs = {**knobs, "on": self.calibration.accelerator}
        self.checkpoint = load_checkpoint(knobs["model"])
        self.workload = workload or self._workload()

    def price(self) -> Cost:
        """The answer."""
        workload = self.workload
        deployment, rate, missing = self.deployment(self.precision())
        draw, site, around = self.power(deployment)
        if "currency" in self.knobs:
            parse_currency(self.knobs["currency"])
        load = parse_utilisation(self.knobs.get("utilisation", "1"))
        if load.sentence():
            self.assumed.append(load.sentence())
        if workload.mode in ("saturated", "concurrency") and "utilisation" not in self.knobs:
            idle = "" if rate and rate.usd_per_joule else "; at 0.5 every idle hour costs as much as a busy one"
            self.assumed.append(f"utilisation 1: the machine is never idle{idle}")
        return price_deployment(
            deployment,
            workload,
            rate,
            load.mean,
            self.knobs.get("basis", "usage"),
            rate_missing=missing,
            assumed=tuple(
                dict.fromkeys(
                    (
                        *self.assumed,
                        *assumptions(deployment, self.given),
                        *self.checkpoint.assumed,
                        *deployment.assumed,
                        *(rate.assumed if rate else ()),
                        *around,
                    )
                )
            ),
            scenario=self.scenario(deployment),
            draw=draw,
            site=site,
        )

    def scenario(self, deployment: Deployment) -> dict[str, Any]:
        """The knobs that give this answer again, machine included."""
        chosen = {"on": f"{deployment.accelerators}x{deployment.accelerator.name}"}
        given = self._sent() | dict(self.knobs)
        if "on" in given and given["on"].endswith(".toml"):
            chosen = {"on": f"{deployment.accelerators}x{parse_path(given['on'])}"}
        return given | chosen

    def _sent(self) -> dict[str, Any]:
        """Knobs of a workload that was given as such; lengths of single requests have none."""
        w = self.workload
        if w.input is None:
            return {}
        found = {name: getattr(w, name) for name in ("concurrency", "rps", "load") if getattr(w, name) is not None}
        goals = {name: min(getattr(w.goals, name), KNOBS[name].high) for name in ("ttft", "tpot")}
        return {"input": str(w.input), "output": str(w.output), "cached": w.cached, **goals, **found}

    def _lengths(self) -> Lengths:
        """Lengths of requests, from knobs."""
        given = [name for name in ("input", "output", "trace") if name in self.knobs]
        if "trace" in given:
            if len(given) > 1:
                raise PertokenError(f"--trace and --{given[0]} cannot both be given; leave one out")
            return self._found(traces.load_lengths(self.knobs["trace"], self.knobs.get("prefix_cache")))
        if len(given) == 2:
            return lengths_from_text(self.knobs["input"], self.knobs["output"])
        shipped = traces.load_lengths(traces.DEFAULT)
        if not given:
            self.assumed.append(
                f"lengths of the Azure 2023 conversation trace: {shipped.input.size:,} requests, mean"
                f" {shipped.input.mean():,.0f} input and {shipped.output.mean():,.0f} output tokens (CC-BY 4.0)"
            )
            return self._within_limit(shipped)
        means = {"input": f"{shipped.input.mean():.0f}", "output": f"{shipped.output.mean():.0f}"}
        other = "output" if given == ["input"] else "input"
        self.assumed.append(f"{other} of {means[other]} tokens, the mean of the Azure 2023 conversation trace")
        texts = means | {given[0]: self.knobs[given[0]]}
        return lengths_from_text(texts["input"], texts["output"])

    def _found(self, lengths: Lengths) -> Lengths:
        """A trace's lengths, without the cached tokens that it tells where their share was given."""
        if lengths.found is None:
            if "prefix_cache" in self.knobs:
                raise PertokenError(f"--prefix-cache needs block hashes, and {lengths.origin} has none; give --cached")
            return lengths
        return replace(lengths, found=None) if "cached" in self.knobs else lengths

    def _within_limit(self, lengths: Lengths) -> Lengths:
        """The default lengths without the requests that a short model cannot take."""
        limit = self.checkpoint.model.context_limit
        keep = lengths.input + lengths.output <= limit
        if keep.all():
            return lengths
        if not keep.any():
            raise PertokenError(f"no request of the default trace fits {limit:,} tokens; give --input and --output")
        self.assumed.append(
            f"{(~keep).sum():,} requests of the trace left out, longer than the model's {limit:,} tokens"
        )
        return Lengths(lengths.input[keep], lengths.output[keep], lengths.origin)

    def _workload(self) -> Workload:
        """What users send, from knobs."""
        lengths = self._lengths()
        modes = {name: self.knobs[name] for name in ("concurrency", "rps", "load") if name in self.knobs}
        goals = Goals(self.knobs.get("ttft", DEFAULT_TTFT), self.knobs.get("tpot", DEFAULT_TPOT))
        if not modes:
            self.assumed.append(
                "as many requests at once as the goals and memory allow (no --concurrency, --rps or --load)"
            )
        if not modes or "load" in modes:
            for name, value in (("ttft", goals.ttft), ("tpot", goals.tpot)):
                if name not in self.knobs:
                    self.assumed.append(f"{name.upper()} goal of {format_seconds(value)}")
        cached = self.knobs.get("cached", 0.0)
        if lengths.found is None and "cached" not in self.knobs:
            self.assumed.append("no input is found in a prefix cache")
        elif cached or lengths.found is not None:
            self.assumed.append(
                "the cache of found prefixes is kept in accelerator memory, so loading it costs nothing"
            )
        return Workload(lengths=lengths, cached=cached, goals=goals, **modes)

    @property
    def given(self) -> set[str]:
        """Knobs that were given; a calibration names its engine."""
        return set(self.knobs) | ({"engine"} if self.calibration else set())

    def profile(self, accelerator: Accelerator) -> Profile:
        """The engine as it is on one accelerator, with policies that were given."""
        own = self.calibration
        profile = machines.load_profile(self.knobs.get("engine", own.engine if own else "vllm")).on(accelerator)
        profile = own.profile(profile) if own else profile
        for name in ("token_budget", "max_sequences"):
            if name in self.knobs:
                number = replace(getattr(profile, name), value=float(self.knobs[name]), source=USER, note="")
                profile = replace(profile, **{name: number})
        return profile

    def precision(self) -> Precision:
        """Formats of weights and cache."""
        stated, given = self.checkpoint.precision, self.knobs.get("dtype")
        if given is None and stated is None:
            raise PertokenError(self.checkpoint.unstated)
        if given is None:
            assert stated is not None
            found = stated
            self.assumed.append(f"weights in {found.weights}, as the checkpoint states")
        else:
            name = number_format(given).name
            half = "fp16" if stated and stated.weights == "fp16" else "bf16"
            kept = {} if number_format(name).bits >= 16 else {"head": half, "embedding": half, "router": half}
            if name in GGUF:  # bits per weight of the whole file, its head and embedding included
                kept = {"router": half}
            found = Precision(name, kept, stated.kv if stated else half)
        if "kv_dtype" in self.knobs:
            return replace(found, kv=number_format(self.knobs["kv_dtype"]).name)
        self.assumed.append(f"KV cache in {found.kv}")
        return found

    def deployment(self, precision: Precision) -> tuple[Deployment, Rate | None, str]:
        """The machine, given or chosen, with its rate."""
        multiple = math.prod(self.knobs.get(name, 1) for name in ("tp", "pp", "dp"))
        sizing = Sizing(self._maker(precision), self.workload, multiple)
        if "on" not in self.knobs:
            found, rate = sizing.cheapest(self.knobs.get("rate", "rent"))
            machine = f"{found.accelerators}x{found.accelerator.name}"
            self.assumed.append(f"machine {machine}: the lowest hourly rate of all in the table that serve this")
            if "rate" not in self.knobs:
                self.assumed.append(rate.origin)
            return found, rate, ""
        asked = parse_on(self.knobs["on"])
        if asked.count is None:
            found = sizing.fewest(asked.accelerator)
            count = found.accelerators
            self.assumed.append(f"{count} accelerator{'s' * (count > 1)}, the fewest that serve this")
        else:
            found = sizing.make(asked.accelerator, asked.count)
            sizing.check_fit(found)
        return found, *self._rate(found.accelerator)

    def _maker(self, precision: Precision) -> Callable[[Accelerator, int], Deployment]:
        k, model, longest = self.knobs, self.checkpoint.model, self.workload.lengths.longest

        def make(accelerator: Accelerator, count: int) -> Deployment:
            domain = int(accelerator.link.domain.value) if accelerator.link else 1
            split = default_split(model, count, domain, *(k.get(name) for name in ("tp", "pp", "ep", "dp")))
            network = k.get("network", DEFAULT_NETWORK)
            half = precision if precision.kv != "bf16" or accelerator.half == "bf16" else replace(precision, kv="fp16")
            profile = self.profile(accelerator)
            chooser = machines.chooser(accelerator, profile, self.calibration)
            found = Deployment(model, half, accelerator, split, profile, chooser, network, k.get("overlap", "none"))
            if split.dp == 1 or "dp" in k or "pp" in k or found.fits(longest):
                return found
            # one replica does not fit a link domain: the domains become pipeline stages
            return replace(found, split=replace(split, pp=split.dp, dp=1))

        return make

    def _rate(self, accelerator: Accelerator) -> tuple[Rate | None, str]:
        if "rate" in self.knobs:
            return parse_rate(self.knobs["rate"], accelerator, self.knobs.get("watts")), ""
        try:
            rate = parse_rate("rent", accelerator)
        except PertokenError as error:
            return None, str(error)
        self.assumed.append(rate.origin)
        return rate, ""

    def power(self, deployment: Deployment) -> tuple[Draw | None, Site, list[str]]:
        """What an accelerator draws, what stands around it, and what was taken for them."""
        accelerator = deployment.accelerator
        site, around = load_site(accelerator.name, self.knobs)
        if "watts" in self.knobs:
            draw: Draw | None = flat(Sourced(self.knobs["watts"], "W", USER))
            around.append(f"{IDLE_SHARE:g} of --watts when idle")
        else:
            draw = load_draw(accelerator, deployment.profile.kernels[-1])
        return draw, site, [*(draw.assumed if draw else ()), *around]


def parse_path(on: str) -> str:
    """The accelerator part of an ``--on`` text."""
    found = _ON.fullmatch(on.strip())
    return found[2].strip() if found else on


def load(model: str) -> Checkpoint:
    """A model by name or path; see `pertoken.catalog.models.load_checkpoint`."""
    return load_checkpoint(model)


def price(model: str, *, workload: Workload | None = None, **knobs: Any) -> Cost:
    """What tokens of a model cost.

    Parameters
    ----------
    model : str
        Catalog name, config.json, folder, or ``org/name`` in the local Hugging Face cache.
    workload : Workload, optional
        What users send; otherwise from knobs.
    **knobs
        As in the command: ``on="8xh100-sxm"``, ``dtype="fp8"``, ``input=8192``, ``rate="rent:2.50"``; see
        `pertoken.knobs.KNOBS`.

    Returns
    -------
    Cost
        Dollars, seconds and joules per token.

    Raises
    ------
    PertokenError
        A sentence with the value, the allowed range and what to do.
    DoesNotFit
        When the model does not fit, with the shortfall and the nearest change that does.
    """
    if workload is not None:
        clash = [name for name in TRAFFIC if knobs.get(name) is not None]
        if clash:
            raise PertokenError(f"{clash[0]} and workload cannot both be given; leave one out")
    return Resolver(read_knobs({"model": model, **knobs}), workload).price()


def combinations(given: Mapping[str, Iterable[Any]], most: int = MOST_CASES) -> list[dict[str, Any]]:
    """Every combination of knobs that were given more than once."""
    cases: list[dict[str, Any]] = [{}]
    for name, values in given.items():
        options = tuple(values)
        if not options:
            raise PertokenError(f"{str(name)[:60]} is an empty list; give a value, or leave it out")
        if len(cases) * len(options) > most:
            raise PertokenError(
                f"{len(cases) * len(options):,} combinations or more were asked for; at most {most:,} are compared at once"
            )
        cases = [case | {name: value} for case in cases for value in options]
    return cases
