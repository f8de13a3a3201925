"""From knobs and options to a simulation: what serves, what is sent, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pertoken.catalog import traces
from pertoken.catalog.arrivals import load_traffic
from pertoken.catalog.policies import load_policy
from pertoken.engine.assumptions import assumptions
from pertoken.engine.draft import Drafted, draft_model, drafted
from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS, read_knobs
from pertoken.money.energy import Draw
from pertoken.money.site import Site
from pertoken.report.simulation import Simulation, columns
from pertoken.report.simulation_stream import Requests
from pertoken.scenario import DEFAULT_TPOT, DEFAULT_TTFT, Resolver
from pertoken.serving.lengths import Lengths
from pertoken.serving.operating import operate, workload_moments
from pertoken.serving.trace import lengths_from_text
from pertoken.serving.workload import Goals, Workload
from pertoken.simulate.bill import Billed
from pertoken.simulate.capacity import Highest, max_rate
from pertoken.simulate.drawn import Drawn, Held, Parts
from pertoken.simulate.options import OPTIONS, REFUSED
from pertoken.simulate.pools import Pools, simulate_pools
from pertoken.simulate.records import Records
from pertoken.simulate.run import faster, simulate
from pertoken.simulate.setup import Options, read_options
from pertoken.simulate.stream import stream
from pertoken.simulate.tally import BilledStream, Streamed, Tally
from pertoken.simulate.traffic import Traffic, closed_loop, conversations, open_loop, read_profile

DEFAULT_REQUESTS = 20_000
DEFAULT_LOAD = 0.8


class Case:
    """One deployment and its traffic, ready to run.

    Parameters
    ----------
    knobs : mapping
        As of ``pertoken price``.
    options : Options
        What else a simulation takes.

    Raises
    ------
    PertokenError
        A sentence with the value, the allowed range and what to do.
    """

    def __init__(self, knobs: Mapping[str, Any], options: Options) -> None:
        self.knobs = read_knobs(knobs)
        self.own = load_policy(options.policy) if options.policy else None
        self.options = replace(options, cluster=replace(options.cluster, policy=self.own))
        for name in REFUSED:
            if name in self.knobs:
                raise PertokenError(
                    f"{KNOBS[name].flag} has no meaning in a simulation, which finds it out or shows idle time as a line; leave"
                    " it out"
                )
        self.assumed: list[str] = []
        if options.decode:
            self.assumed.append("KV moves at the network's rate whatever else does")
        self.trace = self._trace()
        self.lengths = self.trace.lengths if self.trace else self._lengths()
        self.goals = Goals(self.knobs.get("ttft", DEFAULT_TTFT), self.knobs.get("tpot", DEFAULT_TPOT))
        kept = {name: value for name, value in self.knobs.items() if KNOBS[name].group != "traffic"}
        resolver = Resolver(kept, Workload(lengths=self.lengths, goals=self.goals, concurrency=1))
        self.deployment, self.rate, self.rate_missing = resolver.deployment(resolver.precision())
        self.accepted = options.cluster.accepted
        if self.accepted > 1.0:
            self._draft()
        self.draw: Draw | None
        self.site: Site
        self.draw, self.site, around = resolver.power(self.deployment)
        self.assumed += [
            *resolver.assumed, *assumptions(self.deployment, resolver.given), *resolver.checkpoint.assumed,
            *self.deployment.assumed, *around,
        ]  # fmt: skip
        if self.rate is None:
            self.assumed.append(f"no dollars: {self.rate_missing}")

    def _draft(self) -> None:
        """Decode speculatively."""
        served = drafted(self.deployment, self.accepted)
        self.assumed.append(
            f"{served.drafts} drafts a step by {draft_model(served.model)[1]}, each accepted with the same probability after"
            f" those before it, so that {self.accepted:g} tokens are emitted in the mean"
        )
        self.deployment = served

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Case:
        """From knobs and options in one table, as the command or a scenario file has them."""
        more = {name: value for name, value in given.items() if name in OPTIONS}
        return cls({name: value for name, value in given.items() if name not in OPTIONS}, Options.of(more))

    def _trace(self) -> Traffic | None:
        if "trace" not in self.knobs:
            return None
        for name in ("input", "output"):
            if name in self.knobs:
                raise PertokenError(f"--trace and --{name} cannot both be given; leave one out")
        if self.options.turns > 1.0 or self.options.burst != 1.0 or self.options.profile:
            raise PertokenError("--turns, --burst and --profile draw traffic, and a trace has its own; leave one out")
        found = load_traffic(self.knobs["trace"])
        count = self.options.requests
        return cut(found, count) if count and count < found.size else found

    def _lengths(self) -> Lengths:
        given = {name: self.knobs[name] for name in ("input", "output") if name in self.knobs}
        if len(given) == 2:
            return lengths_from_text(given["input"], given["output"])
        shipped = traces.load_lengths(traces.DEFAULT)
        if not given:
            self.assumed.append(f"lengths of the {traces.DEFAULT} trace (CC-BY 4.0)")
            return shipped
        means = {"input": f"{shipped.input.mean():.0f}", "output": f"{shipped.output.mean():.0f}"}
        (missing,) = set(means) - set(given)
        self.assumed.append(f"{missing} of {means[missing]} tokens, the mean of the {traces.DEFAULT} trace")
        both = means | given
        return lengths_from_text(both["input"], both["output"])

    @property
    def best_rate(self) -> float:
        """The closed form's highest rate of one replica, within the goals where it can, for scale [1/s]."""
        for goals in (self.goals, Goals()):
            workload = Workload(lengths=self.lengths, goals=goals)
            moments = workload_moments(self.deployment, workload)
            if isinstance(self.deployment, Drafted):
                moments = replace(moments, width=1.0 + self.deployment.drafts, accepted=self.accepted)
            try:
                return operate(self.deployment, workload, moments).most_rate
            except PertokenError:
                continue
        raise PertokenError("no rate can be derived for this deployment; give --rps")

    def traffic(self, rate: float | None = None, draw: Callable[..., Any] = open_loop) -> Any:
        """The requests, an open loop's from ``draw``; at a rate of the caller's where one is given."""
        o, knobs = self.options, self.knobs
        modes = [name for name in ("concurrency", "rps", "load") if name in knobs]
        if len(modes) > 1:
            raise PertokenError(f"--{' and --'.join(modes)} cannot be given together; leave all but one out")
        if rate is None and "load" in knobs:
            rate = knobs["load"] * self.best_rate * o.replicas
        rate = knobs["rps"] if rate is None and "rps" in knobs else rate
        if self.trace:
            if "concurrency" in knobs:
                raise PertokenError("--concurrency makes its own arrivals, and a trace has some; leave one out")
            return faster(self.trace, rate) if rate else self.trace
        count = o.requests or DEFAULT_REQUESTS
        if not o.requests:
            self.assumed.append(f"{count:,} requests")
        if "concurrency" in knobs:
            return closed_loop(self.lengths, int(knobs["concurrency"]), count, o.seed, o.think)
        if rate is None:
            self.assumed.append(f"load of {DEFAULT_LOAD:g} of the highest rate that meets the goals in closed form")
            rate = DEFAULT_LOAD * self.best_rate * o.replicas
        if o.turns > 1.0:
            return conversations(self.lengths, rate, count, o.turns, o.think, o.seed, o.burst)
        profile = read_profile(o.profile) if o.profile else None
        return draw(self.lengths, rate, count, o.seed, o.burst, profile)

    def run(self, progress: Callable[[float], None] | None = None) -> Simulation:
        """Serve it."""
        return self._billed(self._serve(self.traffic(), progress))

    def warm(self) -> None:
        """Compile what serving it takes, on few requests and by the engine's own rules."""
        options = self.options
        self.options = replace(options, cluster=replace(options.cluster, policy=None))
        try:
            self._serve(open_loop(self.lengths, 1.0, 2), None)
        except PertokenError:
            pass  # the run itself will say so
        finally:
            self.options = options

    def stream(
        self, add: Callable[[Billed], None] | None = None, progress: Callable[[float], None] | None = None
    ) -> Simulation:
        """Serve it without keeping single requests.

        Parameters
        ----------
        add : callable, optional
            Given requests in order of arrival, part by part.
        progress : callable, optional
            As of `pertoken.simulate.run.simulate`.
        """
        tally = Tally(self.goals)

        def sink(part: Records) -> None:
            billed = Billed(part, self.rate, self.draw, self.site)
            tally.add(billed)
            if add:
                add(billed)

        source = self._source()
        run, partial = stream(self.deployment, source, sink, self.options.cluster, self.draw, progress)
        billed = BilledStream(Streamed.ended(run, tally, partial), self.rate, self.draw, self.site)
        return Simulation(billed, self.goals, list(dict.fromkeys(self.assumed)), self.scenario, policy=self.own)

    def write(
        self, path: Path | None, progress: Callable[[float], None] | None = None,
        begun: Callable[[Path], None] | None = None,
    ) -> Simulation:  # fmt: skip
        """Serve it as `stream` does and write its requests as they come; nothing is left behind unless all of them are.

        Parameters
        ----------
        path : Path or None
            Where they are written, as one of `pertoken.report.simulation_stream.FORMS`; with None they are dropped.
        progress : callable, optional
            As of `pertoken.simulate.run.simulate`.
        begun : callable, optional
            Told the temporary file.
        """
        if path is None:
            return self.stream(None, progress)
        file = Requests(path)
        try:
            if begun and file.temporary:
                begun(file.temporary)
            run = self.stream(lambda billed: file.add(columns(billed)), progress)
            file.close(run.partial, run.records.traffic.origin)
        finally:
            file.drop()
        return run

    def _source(self) -> Parts:
        """The requests in parts."""
        o = self.options
        if o.decode:
            raise PertokenError("--stream has one pool, and --replicas asks for two; give one number, or leave it out")
        if "concurrency" in self.knobs or o.turns > 1.0:
            flag = "--concurrency" if "concurrency" in self.knobs else "--turns"
            raise PertokenError(
                f"--stream needs arrivals that wait for no answer, and {flag} makes some; leave one out"
            )
        if self.trace:
            return Held(self.traffic())
        drawn: Drawn = self.traffic(draw=Drawn)
        return drawn

    def search(
        self, progress: Callable[[float], None] | None = None, tell: Callable[[str], None] | None = None
    ) -> Simulation:
        """The run at the highest rate that meets the goals."""
        for name, is_ in (("concurrency", "requests in flight"), ("rps", "one"), ("load", "one")):
            if name in self.knobs:
                raise PertokenError(f"--max-rate looks for a rate, and --{name} sets {is_}; leave one out")
        guess = self.best_rate * self.options.replicas
        highest, found = max_rate(
            lambda rate: self._serve(self.traffic(rate), progress), lambda each: each[0], guess, self.goals, tell=tell
        )
        return self._billed(found, highest)

    def _serve(self, traffic: Traffic, progress: Callable[[float], None] | None) -> tuple[Records, Pools | None]:
        o = self.options
        if not o.decode:
            return simulate(self.deployment, traffic, o.cluster, self.draw, progress), None
        found = simulate_pools(self.deployment, traffic, o.cluster, o.decoding, self.draw, progress)
        return found.whole, found

    def _billed(self, found: tuple[Records, Pools | None], highest: Highest | None = None) -> Simulation:
        records, pools = found
        assumed = list(dict.fromkeys(self.assumed))
        billed = Billed(records, self.rate, self.draw, self.site)
        return Simulation(billed, self.goals, assumed, self.scenario, pools, highest, self.own)

    @property
    def scenario(self) -> dict[str, Any]:
        """Knobs and options that give the run again."""
        machine = f"{self.deployment.accelerators}x{self.deployment.accelerator.name}"
        return {**self.knobs, "on": machine, **self.options.given}


def check(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a run takes them; one that none could take is refused before any is begun.

    Raises
    ------
    PertokenError
        A sentence with the value, the allowed range and what to do.
    """
    more = {name: value for name, value in given.items() if name in OPTIONS}
    return {**read_knobs({name: value for name, value in given.items() if name not in OPTIONS}), **read_options(more)}


def cut(traffic: Traffic, count: int) -> Traffic:
    """The first ``count`` requests."""
    kept: dict[str, Any] = {name: getattr(traffic, name)[:count] for name in ("arrival", "input", "output")}
    kept |= {name: getattr(traffic, name)[:count] for name in ("level",) if traffic.level.size}
    if traffic.chain_at.size:
        kept["chain_at"] = traffic.chain_at[: count + 1]
        kept["chain"] = np.concatenate((traffic.chain[: kept["chain_at"][-1]], np.zeros(1, dtype=traffic.chain.dtype)))
    return replace(traffic, origin=f"the first {count:,} of {traffic.origin}", **kept)
