"""Cases side by side: means and confidence intervals over seeds, and the chart against load."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pertoken.errors import PertokenError
from pertoken.report import simulation_cases as cases
from pertoken.report import simulation_charts as charts
from pertoken.report.charts import picture
from pertoken.simulate import options, routing


def row(case: int, load: str, seed: int, route: str = "round-robin", **more: Any) -> dict[str, Any]:
    figures = {f"{of}_{at}_s": 0.1 * case for of in ("ttft", "tpot") for at in ("mean", "p50", "p99")}
    money = {
        "input_usd_per_million": 0.1,
        "cached_usd_per_million": None,
        "output_usd_per_million": 0.5,
        "idle_share": 0.2,
    }
    given = {"model": "llama-3.1-8b", "load": load, "seed": str(seed), "route": route}
    return {
        "case": case,
        **given,
        "traffic": f"Poisson, {load}",
        "partial": False,
        **figures,
        **money,
        "error": None,
        **more,
    }


def test_routes_are_those_of_the_router() -> None:
    assert options.ROUTES == routing.ROUTES


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 30, 99, 1000])
def test_quantile_is_students(freedom: int) -> None:
    assert cases.quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)
    assert cases.quantile(freedom, 0.5) == pytest.approx(stats.t.ppf(0.75, freedom), rel=1e-9)


def test_means_over_seeds_have_intervals_and_leave_out_what_failed() -> None:
    rows = [row(k + 1, "0.5", k) for k in range(4)]
    rows += [row(5, "0.9", 0), {"case": 6, "model": "llama-3.1-8b", "load": "0.9", "seed": "1", "error": "no"}]
    first, second = cases.over_seeds(rows)
    values = [0.1, 0.2, 0.3, 0.4]
    assert first["cases"] == [1, 2, 3, 4] and first["seeds"] == 4
    assert first["ttft_mean_s"] == pytest.approx(0.25)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert 2 * first["spread"]["ttft_mean_s"] == pytest.approx(high - low)
    assert "seed" not in first and "traffic" not in first and "partial" not in first
    assert second["seeds"] == 1 and second["spread"] == {}


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    hits = {True: 0, False: 0}
    for _ in range(2000):
        values = rng.normal(10.0, 2.0, 5)
        (found,) = cases.over_seeds([row(1, "0.5", k, usd=float(v)) for k, v in enumerate(values)])
        off, spread = abs(found["usd"] - 10.0), found["spread"]["usd"]
        hits[True] += off <= spread
        hits[False] += off <= spread * 1.96 / cases.quantile(4)  # the normal's interval is too narrow for 5 values
    assert hits[True] / 2000 == pytest.approx(0.95, abs=0.015)
    assert hits[False] / 2000 < 0.92, "negative control"


def test_text_names_what_differs_and_what_failed() -> None:
    rows = [
        row(1, "0.5", 0),
        row(2, "0.9", 0),
        {"case": 3, "model": "llama-3.1-8b", "load": "1", "error": "too\x1b[31m much"},
    ]
    shown = cases.text(rows)
    assert "case  load" in shown and "$0.500" in shown and "±" not in shown
    assert "without a result:\ncase 3: too\\x1b[31m much" in shown
    assert cases.failures([{**rows[2], "case": k} for k in (3, 4, 5)]) == ["case 3 and 2 more: too\x1b[31m much"]
    many = cases.text([row(k, load, k) for k, load in enumerate(["0.5", "0.5", "0.9", "0.9"])])
    assert "case  " not in many and "means over 2 seeds" in many and "±" in many


def test_chart_has_its_data_by_name_and_a_line_for_each_combination() -> None:
    rows = [
        row(k + 1, load, seed, route)
        for k, (load, seed, route) in enumerate(
            (load, seed, route)
            for load in ("0.5", "0.9")
            for seed in (0, 1)
            for route in ("round-robin", "least-loaded")
        )
    ]
    spec = charts.against_load(rows)
    data = spec["datasets"]
    assert set(data) == {"latency", "cost", "idle"}
    assert len(data["latency"]) == 2 * 2 * 2 * 3
    assert {r["line"] for r in data["idle"]} == {"round-robin", "least-loaded"}
    assert all(r["low"] < r["v"] < r["high"] for r in data["latency"])
    assert {r["kind"] for r in data["cost"]} == {"input", "output"}
    svg = picture(spec, ".svg")
    assert isinstance(svg, str)
    for text in ("TTFT [s]", "TPOT [s]", "least-loaded", "$ per million tokens", "idle share", "confidence intervals"):
        assert text in svg, text
    assert math.isclose(min(r["x"] for r in data["idle"]), 0.5)


def test_chart_of_what_has_no_axis_or_too_many_lines_is_refused() -> None:
    with pytest.raises(PertokenError, match="against --load"):
        charts.axis_of([row(1, "0.5", 0), row(2, "0.5", 1)])
    with pytest.raises(PertokenError, match="9 lines"):
        charts.axis_of([row(k, load, 0, burst=str(k)) for k in range(9) for load in ("0.5", "0.9")])
