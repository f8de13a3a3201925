"""A simulation as text, as plain data, and as rows."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from pertoken.report.document import clean
from pertoken.report.text import bullets, plain, table
from pertoken.serving.workload import Goals
from pertoken.simulate.bill import Billed
from pertoken.simulate.capacity import Highest
from pertoken.simulate.own import Own
from pertoken.simulate.pools import Pools
from pertoken.simulate.records import Records
from pertoken.units import format_bytes, format_money, format_number, format_seconds

LATENCIES = ("ttft", "tpot", "e2e")


class Simulation:
    """One run with all that is said of it.

    Parameters
    ----------
    billed : Billed
        The run and its bill.
    goals : Goals
        For goodput.
    assumed : list of str
        What was not given.
    scenario : mapping
        Knobs and options that give this run again.
    pools : Pools, optional
        Where prefill and decode were apart.
    highest : Highest, optional
        Where the rate was searched for.
    policy : Own, optional
        A user's own.
    """

    def __init__(
        self, billed: Billed, goals: Goals, assumed: list[str], scenario: dict[str, Any], pools: Pools | None = None,
        highest: Highest | None = None, policy: Own | None = None,
    ) -> None:  # fmt: skip
        self.billed, self.goals, self.assumed, self.scenario = billed, goals, assumed, scenario
        self.pools, self.highest, self.policy = pools, highest, policy

    @property
    def records(self) -> Records:
        """The run."""
        return self.billed.records

    @property
    def partial(self) -> bool:
        """Whether the run, or the search for its rate, was ended early."""
        return self.records.partial or bool(self.highest and math.isinf(self.highest.within))

    @cached_property
    def document(self) -> dict[str, Any]:
        """All but single requests, SI units; latencies in seconds, money in dollars."""
        r, b = self.records, self.billed
        done, tokens, joules, usd = r.answered, r.tokens, b.joules_sums, b.usd_sums
        inputs = tokens["input"] + tokens["cached"]
        found = {
            "partial": self.partial,
            **({"max_rate": vars(self.highest)} if self.highest else {}),
            "requests": {"sent": r.sent, "answered": done, "refused": r.refused},
            "seconds": r.end,
            "rate": {
                "answered_per_s": done / r.end if r.end else 0.0,
                "input_tok_per_s": inputs / r.end if r.end else 0.0,
                "output_tok_per_s": tokens["output"] / r.end if r.end else 0.0,
                "goodput_per_s": r.goodput(self.goals),
                "goals": {"ttft_s": self.goals.ttft, "tpot_s": self.goals.tpot},
            },
            **{f"{name}_s": r.spread(name) for name in LATENCIES},
            "per_request": b.spread,
            **({"percentile_error": r.error} if r.error else {}),
            "utilisation": r.utilisation,
            "batch": float(np.average(r.timeline.batch)) if r.timeline.batch.size else 0.0,
            "kv_occupancy": float(np.average(r.timeline.kv)) if r.timeline.kv.size else 0.0,
            "counts": r.counts,
            "tokens": tokens,
            "per_million": b.per_million,
            "bill": {
                "usd": b.bill, "input_usd": float(usd[0]), "cached_usd": float(usd[1]), "output_usd": float(usd[2]),
                "idle_usd": b.idle_usd, "residual": b.residual,
                "accelerator_s": r.paid_accelerator_s, "idle_share": b.idle_share,
            },
            "accelerator_s": r.accelerator_s,
            "energy": {"input_j": float(joules[0]), "output_j": float(joules[1]), "idle_j": b.idle_joules},
            "timeline": _course(r),
            **({"pools": self._pools(self.pools)} if self.pools else {}),
            "traffic": r.traffic.origin,
            **({"policy": self._policy(self.policy)} if self.policy else {}),
            "assumed": self.assumed,
            "scenario": self.scenario,
        }  # fmt: skip
        return clean(found)  # type: ignore[no-any-return]

    def _policy(self, policy: Own) -> dict[str, Any]:
        """A user's own functions, and how they ran."""
        return {"functions": list(policy.functions), "compiled": not policy.why, "said": policy.said}

    def _pools(self, pools: Pools) -> dict[str, Any]:
        """Each pool's part; their bills add up to the whole's."""
        found: dict[str, Any] = {
            "moved_bytes": pools.moved_bytes, "transfer_s": pools.transfer_s, "sending": pools.sending,
            "waited_s": pools.waited_s, "stalled": pools.stalled,
        }  # fmt: skip
        for name, r in (("prefill", pools.prefill), ("decode", pools.decode)):
            if r is None:
                continue
            b = Billed(r, self.billed.rate, self.billed.draw, self.billed.site)
            found[name] = {
                "replicas": r.lanes // r.deployment.split.lanes, "utilisation": r.utilisation,
                "batch": float(np.average(r.timeline.batch)), "kv_occupancy": float(np.average(r.timeline.kv)),
                "preempted": r.counts["preempted"], "accelerator_s": r.paid_accelerator_s, "usd": b.bill, "idle_usd": b.idle_usd,
                "timeline": _course(r),
            }  # fmt: skip
        return found

    def text(self) -> str:
        """For a terminal."""
        d = self.document
        dep, r = self.records.deployment, self.records
        lines = [
            f"{dep.model.name}, weights in {dep.precision.weights}, on "
            f"{dep.accelerators} x {dep.accelerator.name} ({dep.split}),"
            f" replicas: {self.scenario['replicas']}, {dep.profile.title}",
            f"traffic: {r.traffic.origin}",
            *([plain(self.policy.said)] if self.policy else []),
            "",
        ]
        if self.partial:
            ended = "run was ended early; figures are of what was answered until then"
            if not r.partial:
                ended = "search was ended early; a higher rate may meet the goals too"
            lines.insert(0, f"PARTIAL: the {ended}")
        if d.get("percentile_error"):
            lines[-1:-1] = [f"streamed: percentiles to {d['percentile_error']:.1%}, all else exact"]
        if self.highest:
            lines += [*self._highest(self.highest), ""]
        lines += [*self._requests(d), "", *self._service(d)]
        lines += ["", *self._money(d), ""]
        if self.assumed:
            lines += ["assumed (give it to change it)", *bullets(self.assumed)]
        return "\n".join(lines).rstrip() + "\n"

    def _highest(self, highest: Highest) -> list[str]:
        near = "" if math.isinf(highest.within) else f", to {highest.within:.1%}"
        return [
            f"highest rate {highest.rate:.4g}/s at which {highest.share:.0%} of requests are within TTFT {_goal(self.goals.ttft)}"
            f" and TPOT {_goal(self.goals.tpot)}{near}; figures at that rate"
        ]

    def _requests(self, d: dict[str, Any]) -> list[str]:
        """Latencies, tokens, dollars and joules of requests."""

        def cells(values: dict[str, Any], shown: Any) -> list[str]:
            return ["-" if v is None else shown(v) for v in values.values()]

        rows = [["", *d["ttft_s"]]]
        rows += [[name.upper(), *cells(d[f"{name}_s"], format_seconds)] for name in LATENCIES]
        whole = {"input": "input tokens", "cached": "cached", "output": "output tokens"}
        rows += [
            [title, *cells(d["per_request"][name], lambda v: f"{v:,.0f}")]
            for name, title in whole.items() if name != "cached" or d["tokens"]["cached"]
        ]  # fmt: skip
        for name, title, shown in (("usd", "$ a request", format_money), ("joules", "joules", format_number)):
            if d["per_request"][name]["mean"] is not None:
                rows.append([title, *cells(d["per_request"][name], shown)])
        return [line.rstrip() for line in table(rows)]

    def _service(self, d: dict[str, Any]) -> list[str]:
        """Rates, goodput, and how busy everything is."""
        r, rate = self.records, d["rate"]
        share = rate["goodput_per_s"] / rate["answered_per_s"] if rate["answered_per_s"] else 0.0
        lines = [
            f"answered     {d['requests']['answered']:,} of {d['requests']['sent']:,} requests in {r.end:,.0f} s, "
            f"{rate['answered_per_s']:.4g}/s; {rate['input_tok_per_s']:,.0f} input and {rate['output_tok_per_s']:,.0f}"
            " output tokens/s",
            f"goodput      {rate['goodput_per_s']:.4g}/s, {share:.1%} of requests within TTFT {_goal(self.goals.ttft)} and TPOT"
            f" {_goal(self.goals.tpot)}",
            f"utilisation  {r.utilisation:.1%} of paid time at work; {d['batch']:.1f} sequences decode and"
            f" {d['kv_occupancy']:.1%} of the KV memory is held on average; {r.counts['preempted']:,} preemptions",
        ]
        if self.pools:
            lines += self._pool_lines(d["pools"])
        if r.refused:
            lines.append(f"refused      {r.refused:,} requests, larger than the KV memory of a lane")
        if d["tokens"]["cached"]:
            whole = d["tokens"]["cached"] + d["tokens"]["input"]
            lines.append(f"cached       {d['tokens']['cached'] / whole:.1%} of input tokens found in prefix caches")
        return lines

    def _pool_lines(self, pools: dict[str, Any]) -> list[str]:
        lines = []
        for name in ("prefill", "decode"):
            if name in pools:
                p = pools[name]
                money = "" if p["usd"] is None else f", {format_money(p['usd'])} of the bill"
                lines.append(
                    f"{name:13}{p['replicas']:,} replicas, {p['utilisation']:.1%} of paid time at work,"
                    f" {p['kv_occupancy']:.1%} of the KV memory held{money}"
                )
        lines.append(
            f"KV moved     {format_bytes(pools['moved_bytes'])}, {format_seconds(pools['transfer_s'])} a request; an accelerator"
            f" that prefills sends {pools['sending']:.1%} of the time"
        )
        lines.append(
            f"held up      KV waits {format_seconds(pools['waited_s'])} for a place to decode; {pools['stalled']:.1%} of the time"
            " prompts wait for memory that such KV holds"
        )
        return lines

    def _money(self, d: dict[str, Any]) -> list[str]:
        bill, paid = d["bill"], d["accelerator_s"]
        if bill["usd"] is None:
            whole = sum(paid.values())
            return [f"{name:12}{seconds / whole:7.1%} of accelerator time" for name, seconds in paid.items()]
        rows = [f"{'':12}{'$/M tokens':>12}{'$':>12}{'share':>9}"]
        for name in ("input", "cached", "output"):
            each = d["per_million"][name]
            if each is not None:
                total = bill[f"{name}_usd"]
                rows.append(f"{name:12}{format_money(each):>12}{format_money(total):>12}{total / bill['usd']:9.1%}")
        rows.append(f"{'idle':12}{'':>12}{format_money(bill['idle_usd']):>12}{bill['idle_share']:9.1%}")
        rows.append(f"{'bill':12}{'':>12}{format_money(bill['usd']):>12}{'100.0%':>9}")
        return rows

    def row(self) -> dict[str, Any]:
        """One line of a comparison."""
        d = self.document
        keys = {f"{name}_{at}_s": d[f"{name}_s"][at] for name in LATENCIES for at in ("mean", "p50", "p99")}
        rate, highest = d["rate"], {"max_rate_per_s": self.highest.rate} if self.highest else {}
        within = rate["goodput_per_s"] / rate["answered_per_s"] if rate["answered_per_s"] else None
        return {
            "model": self.records.deployment.model.name, "traffic": d["traffic"],
            **({"policy_ran": self.policy.said} if self.policy else {}), "answered": d["requests"]["answered"],
            "partial": d["partial"], **highest, "seconds": d["seconds"], "answered_per_s": rate["answered_per_s"],
            "goodput_per_s": rate["goodput_per_s"], "within_goals": within, **keys, "utilisation": d["utilisation"],
            "batch": d["batch"], "kv_occupancy": d["kv_occupancy"], "preempted": d["counts"]["preempted"],
            **{f"{name}_usd_per_million": value for name, value in d["per_million"].items()},
            "idle_share": d["bill"]["idle_share"], "usd": d["bill"]["usd"],
            "usd_per_request": d["per_request"]["usd"]["mean"], "joules_per_request": d["per_request"]["joules"]["mean"],
            **({name: d["pools"][name] for name in ("moved_bytes", "transfer_s", "waited_s", "stalled")} if self.pools else {}),
        }  # fmt: skip

    def columns(self) -> dict[str, Any]:
        """Records of single requests, one array a column."""
        return columns(self.billed)


def columns(b: Billed) -> dict[str, Any]:
    """Records of single requests, one array a column."""
    r = b.records
    return {
        "arrival_s": r.arrival, "first_token_s": r.first, "finish_s": r.last, "input": r.traffic.input,
        "cached": r.hit, "output": r.traffic.output, "preempted": r.again, "lane": r.where,
        "input_usd": b.usd[:, 0], "cached_usd": b.usd[:, 1], "output_usd": b.usd[:, 2],
        "usd": b.usd.sum(axis=1), "joules": b.joules.sum(axis=1),
    }  # fmt: skip


def _goal(seconds: float) -> str:
    return format_seconds(seconds) if math.isfinite(seconds) else "any"


def _course(r: Records) -> dict[str, Any]:
    """A timeline as plain data."""
    names = ("busy", "batch", "kv", "output")
    return {
        "seconds": r.timeline.width,
        **{name: [round(float(x), 6) for x in getattr(r.timeline, name)] for name in names},
    }
