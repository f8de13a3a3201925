"""The tornado evaluates the cost formula itself: ends and samples agree with answers priced anew."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from pertoken.cli.money import parse_ranges, ranges
from pertoken.errors import PertokenError
from pertoken.report.uncertainty import Case, Range, centre, document, tornado
from pertoken.scenario import price
from tests.cli.tool import refused, run

JOB: dict[str, Any] = {"on": "2xh100-sxm", "input": 900, "output": 200, "concurrency": 20}


def answer(**more: Any) -> Any:
    return price("llama-3.1-8b", **{**JOB, **more})


@pytest.mark.parametrize("rate", ["rent:2.5", "own", "power:0.12"])
def test_metrics_are_those_of_an_answer_priced_anew(rate: str) -> None:
    cost = answer(rate=rate, utilisation=0.6, embodied="cited")
    found = Case(cost, (0.5, 2.0)).metrics(centre(cost) | {"utilisation": 0.3, "input": 2.0, "pue": 1.2})
    again = answer(rate=rate, utilisation=0.3, input=1800, basis="allocation", pue=1.2, embodied="cited")
    assert again.facility_joules and again.grams
    assert float(found["output_usd"]) == pytest.approx(again.per_million.output.value, rel=1e-9)
    assert float(found["input_usd"]) == pytest.approx(again.per_million.input.value, rel=1e-9)
    assert float(found["output_joules"]) == pytest.approx(again.facility_joules.output.value, rel=1e-9)
    assert float(found["output_grams"]) == pytest.approx(again.grams.output.value * 1e6, rel=1e-9)


@pytest.mark.parametrize("traffic", [{"rps": 2.0}, {"load": 0.4}])
def test_a_given_rate_decides_how_busy_it_is(traffic: dict[str, float]) -> None:
    cost = price("llama-3.1-8b", on="1xh100-sxm", input=900, output=200, rate="own", **traffic)
    again = price("llama-3.1-8b", on="1xh100-sxm", input=900, output=200, rate="own", basis="allocation", **traffic)
    case = Case(cost, (1.0, 1.0))
    value = case.metrics(centre(cost))
    assert float(value["output_usd"]) == pytest.approx(again.per_million.output.value, rel=1e-9)
    slower = case.metrics(centre(cost) | {"step time": 1.1})
    assert float(slower["output_usd"]) == pytest.approx(float(value["output_usd"]), rel=0.02), "busier, not dearer"


def test_the_largest_swing_comes_first_and_all_together_span_more_than_one() -> None:
    cost = answer(rate="rent", utilisation=0.6)
    found = tornado(cost, ranges(cost, {}))
    sizes = [s.size("output_usd") for s in found.swings]
    assert sizes == sorted(sizes, reverse=True)
    assert {"rate", "step time", "utilisation", "input", "energy", "pue"} == {s.name for s in found.swings}
    low, high = found.joint["output_usd"]
    assert low < found.value["output_usd"] < high
    alone = found.swings[1]
    assert math.log(high / low) > alone.size("output_usd")
    assert found.joint == tornado(cost, ranges(cost, {})).joint, "the seed is fixed"


def test_nothing_varied_is_the_answer() -> None:
    cost = answer(rate="rent:2", utilisation=0.5)
    still = {name: Range(1.0, 1.0, "still") for name in ("rate", "input", "energy", "step time")}
    found = tornado(cost, still)
    assert all(s.size("output_usd") < 1e-12 for s in found.swings)
    assert found.joint["output_usd"] == pytest.approx((found.value["output_usd"],) * 2)


def test_a_wider_range_swings_more() -> None:
    cost = answer(rate="rent:2")
    narrow, wide = (tornado(cost, {"rate": Range(1 / x, x, "")}).swings[0].size("output_usd") for x in (1.2, 3.0))
    assert wide > narrow > 0


def test_the_command_prints_and_writes_it() -> None:
    job = ("price", "llama-3.1-8b", "--on", "1xh100-sxm", "--concurrency", "8", "--uncertainty")
    text = run(*job).out
    assert "all together" in text and "step time" in text
    assert max(map(len, text.splitlines())) <= 120
    given = run(
        *job, "--range", "utilisation=0.2:0.4", "--utilisation", "0.3", "--range", "rate=1.5:4", "--json"
    ).json()
    inputs = {i["input"]: i for i in given["uncertainty"]["inputs"]}
    assert (inputs["utilisation"]["low"], inputs["utilisation"]["high"]) == (0.2, 0.4)
    assert inputs["rate"]["origin"] == "as given"
    json.dumps(document(tornado(answer(rate="rent:2"), {})), allow_nan=False)


@pytest.mark.parametrize(
    "span",
    [
        "",
        "x",
        "utilisation",
        "utilisation=1",
        "wheels=1:2",
        "rate=4:1",
        "rate=-1:2",
        "rate=nan:2",
        "rate=0:1",
        "rate=1:inf",
    ],
)
def test_nonsense_gets_a_sentence(span: str) -> None:
    assert "--range" in refused("price", "llama-3.1-8b", "--on", "1xh100-sxm", "--concurrency", "8", "--range", span)


def test_ranges_are_read() -> None:
    assert parse_ranges(["step_time=0.8:1.2", "input=0.5:2"]) == {"step time": (0.8, 1.2), "input": (0.5, 2.0)}
    with pytest.raises(PertokenError, match="--range"):
        parse_ranges(["input"])
