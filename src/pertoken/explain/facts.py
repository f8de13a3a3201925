"""Quantities behind a node of the tree: FLOP, bytes, peaks and the shares reached, each with formula, unit and source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pertoken.engine.collectives import CollectiveOp
from pertoken.engine.draft import DraftOp
from pertoken.engine.efficiency import Efficiency
from pertoken.engine.ops import HALF_BYTES, AttentionOp, ElementwiseOp, ExpertsOp, HostOp, MatmulOp, Operation
from pertoken.engine.roofline import Timed
from pertoken.explain.costed import Costed
from pertoken.serving.lane import StepKind
from pertoken.sources import Sourced

COUNTED = "counted from the model's shapes"
TIMED = "the roofline"
_PARTS = {
    "weights": "w(tau*) / (W e_m), shared equally by the tokens of the step",
    "kv": "w(tau*) / (W e_m), by the sequence's own new tokens",
    "activations": "tau* b / (W e_m)",
    "compute": "(1 - tau*) F / (P e_c), that of a large shape",
    "padding": "(1 - tau*) F / (P e_c), beyond that of a large shape",
    "links": "link bytes / (L e_l)",
    "overhead": "launch, latency and host time, split equally; host time per sequence to the sequence",
}


@dataclass(frozen=True)
class Fact:
    """A quantity.

    Parameters
    ----------
    name, unit : str
        What it is, and in what.
    value : float
        In SI units.
    formula, source : str
        How it follows, or where it was read.
    """

    name: str
    value: float
    unit: str
    formula: str = ""
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data; what is not known is left out."""
        return {key: value for key, value in vars(self).items() if value != ""}


def part_formula(part: str) -> str:
    """How the seconds of one part follow."""
    return _PARTS[part]


def read_from(number: Sourced) -> str:
    """Source of a datasheet's number, with its date."""
    s = number.source
    dates = ", ".join(f"{what} {day}" for what, day in (("of", s.date), ("read", s.read)) if day)
    return ", ".join(text for text in (s.title, s.url, dates, number.note) if text)


def fitted(known: Efficiency, group: str, form: str = "") -> str:
    """Which tables taught the efficiencies of one group, and of one format where it has some, in a few words."""
    return f"fit to {_rows_of(tuple(known.tables), group, form)} on {known.accelerator}"


@cache
def _rows_of(tables: tuple[str, ...], group: str, form: str) -> str:
    of_group = [line for line in tables if f", {group}." in line and line.endswith(" rows") and "factor of" not in line]
    rows = [line for line in of_group if f", {group}.{form}: " in line] or of_group
    wheels = dict.fromkeys(line.split()[0] for line in rows)
    count = sum(int(line.split(": ")[1].split()[0]) for line in rows)
    return f"{count:,} measured rows of {' and '.join(wheels)}" if count else "no table; see assumed"


def formulas(op: Operation | None) -> dict[str, str]:
    """How FLOP and bytes of one repeat on one accelerator follow from shapes."""
    if isinstance(op, DraftOp):
        return formulas(op.inner)
    if isinstance(op, MatmulOp):
        k, n = op.matmul.k, op.matmul.n
        each = op.weight_bytes / (k * n)
        return {
            "flop": f"2 k n m, k = {k:,}, n = {n:,}, m tokens",
            "weight": f"k n x {each:.4g} bytes",
            "activation": f"m (k x {op.input_bytes:.4g} + n x 2) bytes",
        }
    if isinstance(op, AttentionOp):
        return {"flop": _attention_flop(op), "kv": f"positions read and written, {op.kv:.4g} bytes an element"}
    if isinstance(op, ExpertsOp):
        e = op.experts
        return {
            "flop": f"2 x {e.active} experts x {e.expert_parameters:,} parameters x m / {op.ranks} ranks",
            "weight": f"touched experts {e.experts} (1 - (1 - {e.active}/{e.experts})^m) x {op.expert_bytes:,.0f} bytes"
            f" / {op.ranks} ranks",
            "activation": "tokens in and out of the experts",
        }
    if isinstance(op, CollectiveOp):
        return {"link": f"{op.kind} over {op.ranks} ranks of {op.token_bytes:,.0f} bytes a token"}
    if isinstance(op, ElementwiseOp):
        return {"activation": f"{op.token_bytes:,.0f} bytes a token"}
    return {}


def _attention_flop(op: AttentionOp) -> str:
    a = op.attention
    if a.kind == "grouped":
        return f"4 H d pairs, H = {getattr(a, 'heads', 0) // op.tp} heads on a rank, d = {getattr(a, 'head_dim', 0)}"
    if a.kind == "latent":
        return "absorbed 2 H (2 d_c + d_r) pairs, or expanded, the cheaper"
    return "constant per token"


class Facts:
    """The facts of one cost.

    Parameters
    ----------
    cost : Costed
        What is explained.
    """

    def __init__(self, cost: Costed) -> None:
        self.cost, self.d = cost, cost.deployment
        self.a = cost.deployment.accelerator
        self._named: dict[int, dict[tuple[str, str], Operation]] = {}

    def request(self, seconds: float) -> tuple[Fact, ...]:
        """Of a mean request."""
        c, rate = self.cost, self.cost.rate
        money = [Fact("rate", rate.usd_per_second, "$/accelerator-s", source=rate.origin)] if rate else []
        if rate:
            money.append(Fact("cost", seconds * rate.usd_per_second, "$", "accelerator-seconds x rate"))
        return (
            *money,
            Fact("accelerators", float(self.d.accelerators), "accelerator", f"tp x pp x dp ({self.d.split})"),
            Fact("requests", c.requests_per_s, "1/s", "lanes x utilisation x finished / step"),
            Fact("utilisation", c.utilisation, "1", "busy over paid accelerator-seconds"),
            Fact("seconds", seconds, "accelerator-s", "accelerators / requests a second"),
        )

    def tokens(self, token: str) -> tuple[Fact, ...]:
        """Of one kind of token."""
        return (
            Fact(
                "tokens", self.cost.tokens_per_request[token], "token/request", source=self.cost.workload.lengths.origin
            ),
        )

    def kind(self, kind: StepKind) -> tuple[Fact, ...]:
        """Of one kind of step."""
        step = kind.step
        return (
            Fact("share of steps", float(kind.share), "1", source="steady state"),
            Fact("time of a step", float(kind.seconds), "s", "sum over operations", TIMED),
            Fact("prompt tokens", float(step.input_tokens), "token", source="steady state"),
            Fact("decoding sequences", float(step.decode_sequences), "sequence", source="steady state"),
        )

    def op(self, kind: StepKind, name: tuple[str, str]) -> Operation | None:
        """The operation of the plan that a name stands for."""
        if id(kind) not in self._named:
            self._named[id(kind)] = {(t.group, t.name): op for op in self.d.plan for t in op.at(kind.step)}
        return self._named[id(kind)].get(name)

    def operation(self, kind: StepKind, name: tuple[str, str], ops: Sequence[Timed]) -> tuple[Fact, ...]:
        """Of one operation in one step, all its repeats, on one accelerator."""
        found = self.op(kind, name)
        how = formulas(found)
        repeats = max(op.count for op in ops)

        def total(get: Any) -> float:
            return float(sum(op.count * get(op) for op in ops))

        facts = [Fact("repeats", float(repeats), "1", source=COUNTED)]
        for key, what in (
            ("flop", "FLOP"),
            ("weight", "weight bytes"),
            ("kv", "KV bytes"),
            ("activation", "activation bytes"),
            ("link", "link bytes"),
        ):
            attribute = "flop" if key == "flop" else f"{key}_bytes"
            value = total(lambda op, a=attribute: getattr(op.work, a))
            if value > 0:
                formula = f"{repeats:g} x ({how[key]})" if key in how else ""
                facts.append(Fact(what, value, "FLOP" if key == "flop" else "byte", formula, COUNTED))
        flop, moved = total(lambda op: op.work.flop), total(lambda op: op.work.memory_bytes)
        if flop > 0 and moved > 0:
            facts.append(Fact("intensity", flop / moved, "FLOP/byte", "FLOP / memory bytes"))
        facts += self._rates(found, name[1], total)
        seconds = float(sum(op.seconds for op in ops))
        return (*facts, Fact("seconds of a step", seconds, "s", "max(compute, memory) + link + overhead", TIMED))

    def _rates(self, op: Operation | None, name: str, total: Any) -> list[Fact]:
        """Peaks, and the share of each that is reached."""
        facts: list[Fact] = []
        inner = op.inner if isinstance(op, DraftOp) else op
        compute = getattr(inner, "flops", 0.0)
        arithmetic, memory, link = (total(lambda o, a=a: getattr(o, a)) for a in ("compute_s", "memory_s", "link_s"))
        flop, moved, sent = (total(lambda o, a=a: getattr(o.work, a)) for a in ("flop", "memory_bytes", "link_bytes"))
        peak = next((p for p in self.a.flops.values() if p.value == compute), None)
        if peak is not None and flop > 0 and arithmetic > 0:
            facts.append(Fact("peak P", peak.value, "FLOP/s", source=read_from(peak)))
            facts.append(
                Fact(
                    "share e_c",
                    flop / (peak.value * arithmetic),
                    "1",
                    "FLOP / (P x compute seconds)",
                    self.taught(op, name),
                )
            )
            facts.append(Fact("compute seconds", arithmetic, "s", "FLOP / (P e_c)", TIMED))
        if moved > 0 and memory > 0:
            rate = self.a.bandwidth
            facts.append(Fact("bandwidth W", rate.value, "byte/s", source=read_from(rate)))
            facts.append(
                Fact(
                    "share e_m",
                    moved / (rate.value * memory),
                    "1",
                    "bytes / (W x memory seconds)",
                    self.taught(op, name),
                )
            )
            facts.append(Fact("memory seconds", memory, "s", "bytes / (W e_m)", TIMED))
        if sent > 0 and link > 0:
            facts.append(
                Fact("link rate reached", sent / link, "byte/s", "link bytes / link seconds", self.link_source())
            )
            facts.append(Fact("link seconds", link, "s", "link bytes / (L e_l)", TIMED))
        return facts

    def taught(self, op: Operation | None, name: str = "") -> str:
        """Where an operation's efficiencies come from."""
        known = self.d.chooser.efficiency
        if isinstance(op, DraftOp):
            return self.taught(op.inner, name)
        if isinstance(op, AttentionOp):
            base = "latent_" if op.attention.kind == "latent" else ""
            phase = "prefill" if "prefill" in name else "decode"
            return fitted(known, base + phase, "fp8" if op.kv < HALF_BYTES else "bf16")
        if isinstance(op, ElementwiseOp):
            return (
                f"share of the memory rate of norms measured on {known.accelerator}" if known.elementwise else "assumed"
            )
        role = "experts" if isinstance(op, ExpertsOp) else op.matmul.role if isinstance(op, MatmulOp) else "feedforward"
        form = self.d.precision.of(role).name
        blocks = form == "fp8" and self.d.precision.blocks
        return fitted(known, "experts" if role == "experts" else "matmul", "fp8_block" if blocks else form)

    def link_source(self) -> str:
        """Where the link's rate was read."""
        link = self.a.link
        own = f"{link.name}, {read_from(link.bandwidth)}" if link else "no link; network only"
        return own + (
            f", and a network of {self.d.network:,.0f} byte/s per accelerator" if self.d.crosses_domains else ""
        )

    def source(self, kind: StepKind, name: tuple[str, str], part: str) -> str:
        """Where the rates behind one part were read."""
        op = self.op(kind, name)
        if part in ("weights", "kv", "activations"):
            return f"W: {read_from(self.a.bandwidth)}; e_m: {self.taught(op, name[1])}"
        if part in ("compute", "padding"):
            inner = op.inner if isinstance(op, DraftOp) else op
            peak = next((p for p in self.a.flops.values() if p.value == getattr(inner, "flops", 0.0)), None)
            return f"P: {read_from(peak) if peak else 'datasheet'}; e_c: {self.taught(op, name[1])}"
        if part == "links":
            return f"L: {self.link_source()}"
        if isinstance(op, HostOp):
            return f"profile of {self.d.profile.title}: {read_from(self.d.profile.host_step)}"
        if isinstance(op, CollectiveOp):
            known = self.d.chooser.links or self.d.chooser.efficiency
            return f"latency: {fitted(known, 'collective')}; waits: profile of {self.d.profile.title}"
        return f"launch: {self.taught(op, name[1])}"
