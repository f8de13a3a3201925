"""Figures of the page: each follows from its inputs by its formula, and each input says where it comes from."""

from __future__ import annotations

import math

import pytest

from pertoken.report import basis
from pertoken.report.figures import figures, receipt, why
from pertoken.scenario import price

CASES = {
    "rented": {"model": "llama-3.1-70b", "on": "8xh100-sxm", "dtype": "fp8"},
    "owned, idle, cached": {"model": "llama-3.1-8b", "on": "h100-sxm", "rate": "own:25000,life=4y,power=0.2", "utilisation": 0.4,
                            "cached": 0.5, "basis": "allocation", "input": 1000, "output": 100, "ttft": "60s", "tpot": "1s"},
    "electricity alone": {"model": "llama-3.1-8b", "on": "h100-sxm", "rate": "power:0.12", "load": 0.5, "embodied": "cited"},
    "experts": {"model": "deepseek-v3", "on": "8xh200-sxm", "cached": 0.3, "concurrency": 32},
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def cost(request):
    return price(**CASES[request.param])


def inputs(figure: dict) -> dict[str, float]:
    return {each["name"]: each["value"] for each in figure["inputs"]}


def test_a_price_follows_from_its_inputs(cost):
    for token in ("input", "cached", "output"):
        found = figures(cost)[token]
        given = inputs(found)
        seconds = given[f"accelerator-seconds of a million {'cached input' if token == 'cached' else token} tokens"]
        if cost.rate.usd_per_joule:
            priced = seconds * given["price of an accelerator-hour, electricity apart"] / 3600
            priced += given["joules of a million tokens"] * given["price of electricity, $/kWh"] / 3.6e6
        else:
            priced = seconds * given["price of an accelerator-hour"] / 3600
        assert found["value"] == pytest.approx(priced, rel=1e-9, abs=1e-12)
        assert found["value"] == getattr(cost.per_million, token).value
        if cost.tokens_per_request[token] > 0:
            share = next(v for k, v in given.items() if k.startswith("share of it charged"))
            tokens = next(v for k, v in given.items() if k.endswith("tokens of a request"))
            followed = given["mean step of the engine"] * share * given["accelerators of a slice (tensor parallel)"]
            followed *= given.get("paid over busy time", 1.0) / (given["requests finished a step"] * tokens) * 1e6
            assert seconds == pytest.approx(followed, rel=1e-9)


def test_energy_carbon_latency_and_bills_follow_from_their_inputs(cost):
    found = figures(cost)
    joules, grams = found["output_joules"], found["output_grams"]
    given = inputs(joules)
    host, pue = given["host: accelerator and host over accelerator"], given["PUE"]
    assert joules["value"] == pytest.approx(given["joules of the accelerators"] * host * pue)
    if not cost.site.embodied:
        kwh = inputs(grams)["grams CO2e of a kWh of this grid"]
        assert grams["value"] == pytest.approx(joules["value"] * kwh / 3.6e6 * 1e6)
    ttft = inputs(found["ttft"])
    assert found["ttft"]["value"] == pytest.approx(sum(v for k, v in ttft.items() if "goal" not in k))
    month = inputs(found["month"])
    assert found["month"]["value"] == pytest.approx(math.prod(month.values()))
    paid = [each["value"] for each in found["request"]["inputs"]]
    assert found["request"]["value"] == pytest.approx(
        sum(n * p / 1e6 for n, p in zip(paid[::2], paid[1::2], strict=True))
    )
    assert found["concurrency"]["value"] == pytest.approx(math.prod(inputs(found["concurrency"]).values()))
    assert found["utilisation"]["value"] == pytest.approx(math.prod(inputs(found["utilisation"]).values()))


def test_a_figure_that_does_not_follow_is_seen(cost):
    """The check above is one: with another input it fails."""
    month = inputs(figures(cost)["month"])
    month["accelerators"] += 1
    assert cost.per_month != pytest.approx(math.prod(month.values()))


def test_every_input_has_a_basis_and_outside_ones_a_source(cost):
    found = [
        *figures(cost).values(),
        *(line["all"] for line in receipt(cost)),
        *(p for p in why(cost) if isinstance(p, dict)),
    ]
    for each in found:
        assert each["formula"] or not each["inputs"], each["label"]
        assert each["basis"] in basis.BASES
        for entry in each["inputs"]:
            assert entry["basis"] in basis.BASES
            if entry["basis"] in ("measured", "datasheet", "listed"):
                assert entry["source"], entry
            if entry["url"]:
                assert entry["url"].startswith("https://") or entry["url"].startswith("http://")
    outside = [entry for each in found for entry in each["inputs"] if entry["basis"] in ("measured", "datasheet")]
    assert any(entry["url"] for entry in outside)


def test_receipt_adds_up_to_the_bill(cost):
    lines = receipt(cost)
    assert sum(line["share"] for line in lines) == pytest.approx(1.0, abs=1e-9)
    whole = cost.bill.usd if cost.rate else cost.bill.accelerator_s
    assert sum(line["all"]["value"] for line in lines) == pytest.approx(whole, rel=1e-9)
    for line in lines:
        assert line["percent"]["value"] == line["share"]
        if not (cost.rate and cost.rate.usd_per_joule):
            given = inputs(line["percent"])
            assert line["share"] == pytest.approx(
                given["accelerator-seconds of this part"] / given["accelerator-seconds paid in an hour"], rel=1e-9
            )
        if line["part"] != "idle":
            assert line["input"]["value"] + line["output"]["value"] == pytest.approx(line["all"]["value"])


def test_why_names_the_largest_parts(cost):
    shares = [piece["value"] for piece in why(cost) if isinstance(piece, dict)]
    assert len(shares) == 4 and shares[0] >= shares[1] and shares[2] >= shares[3]
    assert "".join(p if isinstance(p, str) else p["shown"] for p in why(cost)).endswith("%.")


def test_without_a_rent_there_are_seconds_and_no_dollars():
    cost = price("llama-3.1-8b", on="t4", input=500, output=50, dtype="int4", ttft="60s", tpot="1s")
    assert cost.rate is None
    found = figures(cost)
    assert found["input"]["unit"] == "accelerator-s" and not found["input"]["shown"].startswith("$")
    assert "request" not in found and "month" not in found
    assert receipt(cost)[0]["all"]["unit"] == "accelerator-s"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(math.nan, "s", "-"), (0.05, "s", "50 ms"), (3.35e12, "byte/s", "3.35 TB/s"), (80e9, "byte", "80.0 GB"),
     (0.5, "%", "50%"), (0.0123, "%", "1.2%"), (0.0, "%", "0%"), (1155.0, "token", "1,155"), (0.4, "$", "$0.400")],
)  # fmt: skip
def test_how_quantities_are_written(value, unit, text):
    assert basis.shown(value, unit) == text
