"""The view Market over HTTP: figures of the command, one offer closely, and models that nobody sells."""

from __future__ import annotations

from typing import Any

import pytest

from pertoken.market.compare import cost_per_request
from pertoken.scenario import price
from pertoken.units import format_money
from pertoken.web import charts
from pertoken.web.asked import Asked

CASE = {"model": "llama-3.3-70b", "on": "8xh100-sxm", "dtype": "fp8"}
OFFER = "aws/meta.llama3-3-70b-instruct-v1:0"
TODAY = "prices of 20"


def ask(client: Any, knobs: dict[str, Any] = CASE, **options: Any) -> dict[str, Any]:
    answer = client.post("/api/view/market", json={"knobs": knobs, "options": options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def command(client: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.post("/api/market", json={"knobs": CASE, "options": options}).json()
    return found


def test_offers_and_margins_are_the_command_s(client: Any) -> None:
    found, told = ask(client), command(client)
    rows = {row[0].removesuffix(" *"): row for row in found["tables"][0]["rows"]}
    assert set(rows) == {offer["offer"] for offer in told["offers"]} | {"(cost here)"}
    for offer in told["offers"]:
        row = rows[offer["offer"]]
        assert row[5] == format_money(offer["usd_per_million_tokens"])
        assert row[6] == f"{offer['margin']['value']:+.0%}"
        assert (row[8] == "API wins") == (offer["break_even"] is None)
    usd = cost_per_request(price(**CASE)).value
    assert told["cost_per_request"]["value"] == pytest.approx(usd, rel=1e-9)
    assert format_money(usd) in found["tables"][0]["note"]
    assert TODAY in found["source"] and "genai-prices" in found["tables"][0]["note"]
    assert found["offers"] == [offer["offer"] for offer in told["offers"]]


@pytest.mark.parametrize("sent", [{"spend": 4000}, {"requests": 250_000}])
def test_one_offer_closely_is_the_command_s(client: Any, sent: dict[str, float]) -> None:
    found = ask(client, part="offer", offer=OFFER, redundancy=2, **sent)
    flags = {"spend": f"{sent['spend']}/month"} if "spend" in sent else sent
    told = command(client, offer=OFFER, redundancy=2, **flags)
    implied, hosting = found["sections"]
    rows = implied["tables"][0]["rows"]
    assert [row[1] for row in rows] == [format_money(row["usd"]) for row in told["implied"]["batches"]]
    bill = told["bill"]
    (said,) = [s for s in hosting["sentences"] if "a month at the API" in s]
    assert format_money(bill["api_usd_per_month"]) in said and format_money(bill["self_usd_per_month"]) in said
    assert f"{bill['machines']} machines (2 spare)" in said
    assert f"--offer {OFFER}" in found["command"] and "--redundancy 2" in found["command"]
    assert all(s[0].isupper() for s in hosting["sentences"])


def test_the_command_that_is_shown_prints_the_same_offer(client: Any) -> None:
    import shlex

    from click.testing import CliRunner

    from pertoken.cli.main import cli

    found = ask(client, part="offer", offer=OFFER, spend=4000)
    printed = CliRunner().invoke(cli, shlex.split(found["command"])[1:])
    assert printed.exit_code == 0, printed.output
    flat = " ".join(printed.output.split())
    for section in found["sections"]:
        for said in section["sentences"]:
            assert said[1:] in flat, said


def test_the_cheapest_is_looked_at_where_none_is_named(client: Any) -> None:
    first = min(command(client)["offers"], key=lambda offer: offer["usd_per_request"] or 1e9)
    assert ask(client, part="offer")["offer"] == first["offer"]
    assert ask(client, part="offer", spend=10)["offer"] == first["offer"]


def test_weights_that_are_unpublished_have_offers_alone(client: Any) -> None:
    knobs = {**CASE, "model": "claude-sonnet-4-5"}
    found = ask(client, knobs)
    assert "weights unpublished" in found["sentences"][0] and found["tables"][0]["rows"] and found["offers"] == []
    refused = client.post("/api/view/market", json={"knobs": knobs, "options": {"part": "offer"}})
    assert refused.status_code == 400 and "weights unpublished" in refused.json()["error"]


@pytest.mark.parametrize("part", ["offers", "offer"])
def test_a_model_that_nobody_sells_says_so(client: Any, part: str) -> None:
    found = ask(client, {**CASE, "model": "qwen3-0.6b", "on": "h100-sxm"}, part=part)
    assert "No offer of the weights of qwen3-0.6b is known" in found["sentences"][0]
    assert found["tables"] == found["charts"] == []


def test_the_list_has_ratios_and_dated_prices(client: Any) -> None:
    found = ask(client, part="list")
    told = client.post("/api/market", json={"knobs": CASE, "options": {"ratios": True}}).json()
    shown = {row[0]: row[3] for row in found["tables"][0]["rows"]}
    assert shown == {group["vendor"]: f"{group['quartiles'][1]:.2f}" for group in told["groups"]}
    assert found["tables"][1]["title"].startswith("Prices over time")


@pytest.mark.parametrize(
    "options",
    [
        {"part": "x" * 300}, {"part": None}, {"part": "offer", "offer": "<script>"}, {"part": "offer", "offer": 5},
        {"part": "offer", "offer": "x\u202e\n"}, {"part": "offer", "offer": "x" * 300}, {"part": "offer", "spend": -1},
        {"part": "offer", "spend": "4000"}, {"part": "offer", "spend": True}, {"part": "offer", "requests": 1e300},
        {"part": "offer", "spend": 1, "requests": 1}, {"part": "offer", "redundancy": 1.5}, {"redundancy": 10**9},
    ],
)  # fmt: skip
def test_hostile_options_are_sentences(client: Any, options: dict[str, Any]) -> None:
    answer = client.post("/api/view/market", json={"knobs": CASE, "options": options})
    assert answer.status_code == 400 and answer.json()["error"].isprintable()


@pytest.mark.parametrize(
    ("name", "options"),
    [("offers", {}), ("implied", {"offer": OFFER}), ("break-even", {"offer": OFFER, "spend": 4000}), ("ratios", {}),
     ("history", {}), ("tariff-input", {}), ("tariff-output", {"form": "one"}), ("tariff-lorenz", {}), ("transfers", {}),
     ("mixes", {})],
)  # fmt: skip
def test_charts_read_their_rows_by_name_and_are_told_in_words(name: str, options: dict[str, Any]) -> None:
    pytest.importorskip("altair")
    knobs = {**CASE, "model": "deepseek-v3", "on": "8xh200-sxm"} if name == "history" else CASE
    asked = Asked({"knobs": knobs, "options": options})
    try:
        spec, rows = charts.spec(name, asked), charts.rows(name, asked)
    except Exception as problem:
        assert name == "history" and "dates none of these prices" in str(problem)
        return
    assert spec["datasets"] == rows and any(rows.values())

    def every(item: Any, key: str) -> list[Any]:
        if isinstance(item, dict):
            own = [item[key]] if key in item else []
            return [*own, *(v for k, each in item.items() if k != "datasets" for v in every(each, key))]
        return [v for each in item for v in every(each, key)] if isinstance(item, list) else []

    assert {data["name"] for data in every(spec, "data")} == set(rows)
    kept = {key for dataset in rows.values() for row in dataset for key in row}
    assert {field for field in every(spec, "field") if isinstance(field, str)} <= kept
    assert spec["description"].endswith(".") and any(c.isdigit() for c in spec["description"])
    vl_convert = pytest.importorskip("vl_convert")
    vl_convert.vegalite_to_vega(spec)


def test_break_even_is_where_the_lines_cross() -> None:
    asked = Asked({"knobs": CASE, "options": {"offer": OFFER, "spend": 4000}})
    rows = charts.rows("break-even", asked)
    even = next(mark for mark in rows["marks"] if mark["text"] == "break-even")
    below = [row for row in rows["lines"] if row["requests"] < 0.99 * even["requests"]]
    by: dict[float, dict[str, float]] = {}
    for row in below:
        by.setdefault(row["requests"], {})[row["who"]] = row["usd"]
    assert by and all(each["the API"] < each["served here"] for each in by.values())
    assert not all(each["the API"] < 0.5 * each["served here"] for each in by.values()), "they come close"
