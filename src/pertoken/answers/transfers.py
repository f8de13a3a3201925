"""Question 5: what each request costs by its own lengths, against one flat price of input and one of output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pertoken.answers.base import Answer, Asked, Row, Words, bar, bare, percent, sentence
from pertoken.attribution.crossing import grid, mean_upto
from pertoken.cost import Cost
from pertoken.report.curve import Curve
from pertoken.serving.lengths import Array
from pertoken.units import MILLION

GROUPS = 10
EVERY = 100_000  # contexts looked at one by one; beyond, a grid
HARDLY = 0.01  # of its cost: a transfer this small is called none


@dataclass(frozen=True)
class Requests:
    """Requests one by one.

    Parameters
    ----------
    input, output : ndarray
        Lengths; input without what a prefix cache holds [token].
    input_cost, output_cost : ndarray
        By the positions of its own tokens [$ or accelerator-s].
    """

    input: Array
    output: Array
    input_cost: Array
    output_cost: Array

    @property
    def cost(self) -> Array:
        """Of each request [$ or accelerator-s]."""
        return self.input_cost + self.output_cost

    @property
    def prices(self) -> tuple[float, float]:
        """The flat prices of input and output that bring in the same [$ or accelerator-s per token]."""
        return (
            float(self.input_cost.sum() / self.input.sum()),
            float(self.output_cost.sum() / self.output.sum()),
        )

    @property
    def charged(self) -> Array:
        """What flat prices charge each [$ or accelerator-s]; it sums to the cost."""
        first, second = self.prices
        found: Array = self.input * first + self.output * second
        return found

    @property
    def moved(self) -> float:
        """Share of the revenue that moves between requests [1]."""
        return float(np.abs(self.charged - self.cost).sum() / 2.0 / self.cost.sum())

    def groups(self) -> list[Any]:
        """Requests from short to long, in tenths where there are enough."""
        order = np.argsort(self.input + self.output, kind="stable")
        return [g for g in np.array_split(order, min(GROUPS, order.size)) if g.size]


def requests(cost: Cost) -> Requests:
    """What each request of the traffic costs, by the fair share of its positions."""
    lengths, curve = cost.workload.lengths, Curve(cost)
    inputs, outputs = np.round(lengths.input), np.round(lengths.output)
    found = np.floor(np.minimum(inputs * cost.workload.cached, inputs - 1.0))
    upto = _summed(curve, float(inputs.max()))
    decoding = _decoding(curve, float((inputs + outputs).max())) if curve.decodes else None
    first = float(curve.at("output", np.array([1.0])).value[0]) / MILLION
    later = decoding(inputs + outputs - 2.0) - decoding(inputs - 1.0) if decoding else 0.0 * outputs
    return Requests(inputs - found, outputs, upto(inputs) - upto(found), first + later)


def offs(found: Requests) -> list[float]:
    """What flat prices charge each group over its cost, less 1, from short to long [1]."""
    return [float(found.charged[g].sum() / found.cost[g].sum() - 1.0) for g in found.groups()]


def _whole(last: float) -> Array:
    """Whole numbers from 1 to ``last``, all of them or a grid."""
    return np.arange(1.0, last + 1.0) if last <= EVERY else np.unique(np.concatenate((grid(last, 20_000), [last])))


def _running(n: Array, value: Array) -> Any:
    """The sum over 1 to n as a function, 0 at 0."""
    at, sums = np.concatenate(([0.0], n)), np.concatenate(([0.0], n * mean_upto(n, value) / MILLION))
    return lambda x: np.interp(x, at, sums)


def _summed(curve: Curve, last: float) -> Any:
    n = _whole(last)
    return _running(n, np.broadcast_to(curve.at("input", n).value, n.shape))


def _decoding(curve: Curve, longest: float) -> Any:
    """Running sum over contexts of what a decode step costs."""
    context = _whole(max(1.0, min(longest - 1.0, curve.limit - 2.0)))
    value = curve.cost.at(output=2, input=context).per_million.value
    return _running(context, np.broadcast_to(value, context.shape))


def subsidies(asked: Asked) -> Answer:
    """Question 5."""
    cost, words = asked.cost, Words(asked.cost.rate is not None)
    question = "Under a flat price, do heavy users subsidise light ones, or the other way round?"
    command, deeper = asked.command("answers", "--question", "5"), asked.command("curve")
    found = requests(cost)
    if np.ptp(found.input) == 0 and np.ptp(found.output) == 0:
        example = words.quote("--input p50=1020,p90=2734")
        text = (
            "Neither: all requests of this traffic are alike, so a flat price charges each what it costs. Give"
            f" lengths that differ, with --trace or {example}."
        )
        return Answer(5, question, text, words, (), command, deeper)
    groups, over = found.groups(), offs(found)
    text = sentence(
        _verdict(over), _method(words, found), _ends(words, found, groups, over), _moved(words, found, cost)
    )
    return Answer(5, question, text, words, _table(words, found, groups, over), command, deeper, _chart(cost, over))


def _verdict(offs: list[float]) -> str:
    short, long = offs[0], offs[-1]
    if abs(long) <= HARDLY and abs(short) <= HARDLY:
        return "Hardly either: at the ends of this traffic a flat price is close to cost."
    if long < -HARDLY and short > HARDLY:
        return "Light users subsidise heavy ones: the short requests pay more than they cost, the long ones less."
    if long > HARDLY and short < -HARDLY:
        return "Heavy users subsidise light ones: the long requests pay more than they cost, the short ones less."
    if long < -HARDLY:
        return "Heavy users are subsidised: the longest requests pay less than they cost."
    if long > HARDLY:
        return "Heavy users subsidise others: the longest requests pay more than they cost."
    return f"The longest requests pay about what they cost; the shortest pay {'more' if short > 0 else 'less'}."


def _method(words: Words, found: Requests) -> str:
    first, second = (p * MILLION for p in found.prices)
    return (
        f"Each of the {words.count('requests', found.input.size, 'request')} requests was priced by the positions of"
        f" its own tokens, and then charged flat prices that bring in the same, {words.money('flat_input', first)} a"
        f" million input tokens and {words.money('flat_output', second)} a million output tokens."
    )


def _ends(words: Words, found: Requests, groups: list[Array], offs: list[float]) -> str:
    clauses, part = [], "tenth" if len(groups) == GROUPS else "part"
    for name, g, off in (("longest", groups[-1], offs[-1]), ("shortest", groups[0], offs[0])):
        sizes = [
            words.count(f"{name}_{k}", float(v[g].mean()))
            for k, v in (("input", found.input), ("output", found.output))
        ]
        first, second = found.prices
        kinds = [
            f"{_more(words, f'{name}_{k}_off', float(price * tokens[g].sum() / paid[g].sum()) - 1.0)} for {k}"
            for k, price, tokens, paid in (
                ("input", first, found.input, found.input_cost), ("output", second, found.output, found.output_cost)
            )
        ]  # fmt: skip
        clauses.append(
            f"the {name} {part} (on average {sizes[0]} input and {sizes[1]} output tokens) pays"
            f" {_more(words, f'{name}_off', off)} than it costs: {' and '.join(kinds)}"
        )
    return f"Sorted by length, {'; '.join(clauses)}."


def _more(words: Words, name: str, off: float) -> str:
    return f"{words.share(name, abs(off))} {'more' if off >= 0 else 'less'}"


def _moved(words: Words, found: Requests, cost: Cost) -> str:
    moved = words.share("moved", found.moved)
    said = f"In all {moved} of what is paid moves from some requests to others."
    unit = cost.rate.usd_per_second if cost.rate else 1.0
    gap = abs(float(found.cost.mean()) / (cost.accelerator_s_per_request.value * unit) - 1.0)
    if gap < 0.001:
        return said
    return f"{said} (Costs by position add up to the bill within {words.share('residual', gap)} here.)"


def _table(words: Words, found: Requests, groups: list[Array], offs: list[float]) -> tuple[Row, ...]:
    most = max(abs(off) for off in offs)
    unit = "$" if words.priced else "s"
    rows: list[Row] = [("requests", "input", "output", f"cost {unit}", f"charged {unit}", "over cost", "")]
    for i, (g, off) in enumerate(zip(groups, offs, strict=True)):
        name = "shortest" if i == 0 else "longest" if i == len(groups) - 1 else f"{i + 1}"
        each = [bare(float(v[g].mean()), words.priced) for v in (found.cost, found.charged)]
        sign = "+" if off > 0 else "-"
        rows.append((
            name, f"{found.input[g].mean():,.0f}", f"{found.output[g].mean():,.0f}", *each, f"{sign}{percent(abs(off))}",
            bar(abs(off), most, 12).replace("#", sign),
        ))  # fmt: skip
    return tuple(rows)


def _chart(cost: Cost, offs: list[float]) -> Any:
    def draw() -> Any:
        from pertoken.answers import pictures

        return pictures.transfers(cost, offs)

    return draw
