"""Charts of cost: their data are the answers', and they obey what they must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pertoken as pt
from pertoken.errors import PertokenError
from pertoken.report import charts
from pertoken.report.curve import Curve

pytest.importorskip("altair")
JOB = {"on": "1xh100-sxm", "input": 1000, "output": 200, "rate": "rent:2.50"}


def values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows of data in a chart."""
    return [row for rows in spec["datasets"].values() for row in rows]


def test_areas_sum_to_the_cost_of_the_token() -> None:
    cost = pt.price("llama-3.1-8b", **JOB)
    spec = charts.position([Curve(cost)]).to_dict()
    rows = [row for row in values(spec) if "part" in row]
    whole: dict[float, float] = {}
    for row in rows:
        if row["n"] == 1.0:
            whole[1.0] = whole.get(1.0, 0.0) + row["cost"]
    assert whole[1.0] == pytest.approx(cost.at(input=1).per_million.value, rel=1e-9)


def test_the_batch_of_the_operating_point_is_on_the_line() -> None:
    cost = pt.price("llama-3.1-8b", **JOB, concurrency=50)
    x, found = charts.batches(cost)
    assert np.all(np.diff(x) > 0) and np.all(np.diff(found["output"]) < 0)
    at = np.interp(np.log(float(cost.operating.state.batch)), np.log(x), np.log(found["output"]))
    assert np.exp(at) == pytest.approx(cost.per_million.output.value, rel=1e-3)
    assert x[0] == pytest.approx(1.0)


def test_idle_time_is_in_the_cost_against_load() -> None:
    base = pt.price("llama-3.1-8b", **JOB)
    load, found, busy = charts.loads(base)
    for share in (0.02, 0.3):
        cost = pt.price("llama-3.1-8b", **JOB, load=share, basis="allocation")
        at = np.interp(np.log(share), np.log(load), np.log(found["output"] / busy))
        assert np.exp(at) == pytest.approx(cost.per_million.output.value, rel=1e-3)
    assert np.all(np.diff(found["output"] / busy) < 0)


def test_models_whose_cost_bends_in_context_are_drawn_too() -> None:
    cost = pt.price("gemma-3-1b", on="1xl4", input=1000, output=200)
    for kind in ("position", "batch", "load", "ratio"):
        assert values(charts.drawn([Curve(cost)], kind).to_dict())


def test_no_load_without_a_rate_that_meets_the_goals() -> None:
    cost = pt.price("llama-3.1-8b", **JOB, concurrency=4, tpot="1ms")
    with pytest.raises(PertokenError, match="no load to draw"):
        charts.load([cost])
