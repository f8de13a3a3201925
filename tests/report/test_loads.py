"""Courses of load: the case itself is on the line, idle time is paid, and both axes agree with prices at their loads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pertoken.errors import PertokenError
from pertoken.report import drawings, loads
from pertoken.scenario import price

JOB: dict[str, Any] = {"on": "1xh100-sxm", "input": 1000, "output": 200, "rate": "rent:2.50"}


@pytest.mark.parametrize(
    ("more", "against"),
    [({"concurrency": 20}, "concurrency"), ({"rps": 2.0}, "rate"), ({"rps": 2.0, "basis": "allocation"}, "rate"),
     ({"load": 0.4}, "rate"), ({"concurrency": 20, "utilisation": "0.3"}, "concurrency"),
     ({"concurrency": 20, "utilisation": "0.3", "basis": "allocation"}, "concurrency")],
)  # fmt: skip
def test_where_you_are_is_on_the_line(more: dict[str, Any], against: str) -> None:
    cost = price("llama-3.1-8b", **JOB, **more)
    now = loads.here(cost, against)
    course = loads.course(cost, against, np.array([now["x"]]))
    for token in ("input", "output"):
        assert course.cost[token][0] == pytest.approx(now[token], rel=2e-4)
    assert course.ttft_s[0] == pytest.approx(now["ttft"], rel=2e-4)
    assert course.tpot_s[0] == pytest.approx(now["tpot"], rel=2e-4)


@pytest.mark.parametrize("concurrency", [1, 7, 300])
def test_a_course_is_the_price_at_that_concurrency(concurrency: int) -> None:
    base = price("llama-3.1-8b", **JOB)
    cost = price("llama-3.1-8b", **JOB, concurrency=concurrency)
    course = loads.course(base, "concurrency", np.array([float(concurrency)]))
    assert course.cost["output"][0] == pytest.approx(cost.per_million.output.value, rel=1e-6)
    assert course.ttft_s[0] == pytest.approx(cost.operating.ttft_s, rel=1e-6)
    assert course.tpot_s[0] == pytest.approx(cost.operating.tpot_s, rel=1e-6)


def test_a_course_is_the_price_at_that_rate_idle_time_included() -> None:
    base = price("llama-3.1-8b", **JOB)
    for rate in (0.5, 10.0):
        cost = price("llama-3.1-8b", **JOB, rps=rate, basis="allocation")
        course = loads.course(base, "rate", np.array([rate]))
        assert course.cost["output"][0] == pytest.approx(cost.per_million.output.value, rel=1e-6)
        assert course.ttft_s[0] == pytest.approx(cost.operating.ttft_s, rel=1e-6)
        assert course.busy[0] == pytest.approx(cost.utilisation, rel=1e-6)
    busy = price("llama-3.1-8b", **JOB, rps=0.5)  # without idle time, the control
    assert loads.course(base, "rate", np.array([0.5])).cost["output"][0] > 1.1 * busy.per_million.output.value


@pytest.mark.parametrize(
    ("name", "on"), [("gemma-3-1b", "1xl4"), ("deepseek-v3", "16xh200-sxm"), ("gpt-oss-120b", "4xmi300x")]
)
@pytest.mark.parametrize("against", list(loads.AGAINST))
def test_lines_are_finite_and_end_where_the_axis_does(name: str, on: str, against: str) -> None:
    cost = price(name, on=on)
    for kind in ("cost", "latency"):
        rows = drawings.rows(f"load-{kind}", [cost], {"against": against})
        assert np.isfinite([row["value"] for row in rows["lines"]]).all() and len(rows["here"]) == 2
        x = [row["x"] for row in rows["lines"]]
        assert min(x) <= rows["here"][0]["x"] <= max(x)
        assert rows["simulated"] == []


def test_one_output_token_has_no_time_per_output_token() -> None:
    cost = price("llama-3.1-8b", on="1xh100-sxm", input=1000, output=1)
    rows = drawings.rows("load-latency", [cost])
    assert {row["of"] for row in (*rows["lines"], *rows["here"])} == {loads.LATENCIES["ttft"]}


def test_two_cases_have_no_common_course() -> None:
    cost = price("llama-3.1-8b", **JOB)
    with pytest.raises(PertokenError, match="draws one"):
        drawings.rows("load-cost", [cost, cost])


def test_simulated_points_are_drawn_where_they_were_found() -> None:
    cost = price("llama-3.1-8b", **JOB)
    points = [{"x": 4, "input": 0.02, "output": 0.5, "ttft": 0.1, "tpot": None}]
    rows = drawings.rows("load-latency", [cost], {"simulated": points})["simulated"]
    assert rows == [{"x": 4.0, "value": 0.1, "of": loads.LATENCIES["ttft"], "text": "simulated"}]
    assert len(drawings.rows("load-cost", [cost], {"simulated": points})["simulated"]) == 2


@pytest.mark.parametrize(
    "points", [5, ["x"], [{"x": "1", "input": 1}], [{"x": 1, "input": float("inf")}], [{"x": 1}] * 41, [{"input": 1.0}]]
)
def test_points_that_are_none_are_refused(points: Any) -> None:
    cost = price("llama-3.1-8b", **JOB)
    with pytest.raises(PertokenError, match="option"):
        drawings.rows("load-cost", [cost], {"simulated": points})
