"""A counterfactual: a name, perhaps an amount, and the case that it makes of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pertoken.attribution.ledger import by_token
from pertoken.cost import Cost, price_deployment
from pertoken.engine.deployment import Deployment
from pertoken.serving.workload import Workload
from pertoken.units import MILLION

BOUNDS = {
    "weights": "memory", "kv": "memory", "activations": "memory", "compute": "compute", "padding": "compute",
    "links": "links", "overhead": "overhead",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """The case that a counterfactual makes.

    Parameters
    ----------
    cost : Cost
        Its answer.
    assumed : tuple of str
        What had to be assumed to make it.
    lines : tuple of (str, float)
        Parts of an output token that deserve a line of their own, in accelerator-seconds a token; they are in its cost [s].
    """

    cost: Cost
    assumed: tuple[str, ...] = ()
    lines: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Counterfactual:
    """One small named thing that could be otherwise.

    Parameters
    ----------
    name : str
        As in ``--what-if``.
    doc : str
        What would be otherwise, with ``{}`` for the amount.
    make : callable
        The case, from the cost of another and the amount; raises a sentence where it cannot apply.
    amount : float or None
        What is taken when none is given; None where there is nothing to give.
    low, high : float
        Range of the amount.
    unit : str
        Of the amount.
    """

    name: str
    doc: str
    make: Callable[[Cost, float], Case]
    amount: float | None = None
    low: float = 0.0
    high: float = 0.0
    unit: str = ""

    def sentence(self, amount: float) -> str:
        """What would be otherwise."""
        return self.doc.format(f"{amount:.0%}" if self.unit == "%" else f"{amount:,g}")


@dataclass(frozen=True)
class Outcome:
    """What a counterfactual changes.

    Parameters
    ----------
    name, sentence : str
        As asked for, and in words.
    before : Cost
        The case as it is.
    after : Case or None
        As it would be; None where it cannot be.
    refused : str
        Why not.
    """

    name: str
    sentence: str
    before: Cost
    after: Case | None = None
    refused: str = ""

    @property
    def priced(self) -> bool:
        """Whether figures are dollars; else accelerator-seconds."""
        return self.before.rate is not None

    def figures(self, cost: Cost) -> dict[str, float]:
        """Per million input (all of it), uncached input and output tokens, and per request: $ or accelerator-s."""
        unit = cost.rate.usd_per_second if cost.rate else 1.0
        each = cost.accelerator_s
        found = {name: getattr(each, name).value * MILLION * unit for name in ("input_blended", "input", "output")}
        return found | {"request": cost.accelerator_s_per_request.value * unit}


def binding(cost: Cost, token: str) -> tuple[str, float]:
    """What binds the operations that one kind of token pays for most: a resource, and its share of the token's cost."""
    totals = dict.fromkeys(BOUNDS.values(), 0.0)
    for entry in cost.entries["value"]:
        if entry.token == token:
            totals[BOUNDS[entry.part]] += float(entry.seconds)
    name = max(totals, key=lambda key: totals[key])
    whole = float(by_token(cost.entries["value"])[token])
    return name, totals[name] / whole if whole > 0 else 0.0


def repriced(cost: Cost, deployment: Deployment | None = None, workload: Workload | None = None, **more: Any) -> Cost:
    """The same rate, utilisation and basis for another deployment or workload; a load stays the request rate that it is."""
    workload = workload or cost.workload
    if workload.mode == "load":
        workload = traffic(workload, rps=cost.requests_per_s)
    return price_deployment(
        deployment or cost.deployment,
        workload,
        cost.rate,
        cost.paid_share,
        cost.basis,
        rate_missing=cost.rate_missing,
        assumed=cost.assumed,
        scenario=cost.scenario,
        **more,
    )


def traffic(workload: Workload, **amount: float) -> Workload:
    """The same requests with another amount of traffic, or none given."""
    given: dict[str, Any] = {"concurrency": None, "rps": None, "load": None} | amount
    return replace(workload, **given)
