"""``pertoken market`` as its users meet it: offers, one offer, tariffs on a trace, the whole list, and bad input."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.tool import refused, run

TODAY = ("--today", "2026-11-25")
JOB = ("llama-3.1-8b", "--on", "1xh100-sxm", "--rate", "rent:2.50", *TODAY)
OWN = "provider,model,input,cached,output\nmine,llama-3.1-8b,0.2,0.02,0.9\nfree,llama-3.1-8b,0,,0\n"


def market(*arguments: str) -> Any:
    """JSON of a run that must succeed."""
    result = run("market", *arguments, "--json")
    assert result.code == 0, result
    return result.json()


def test_offers_side_by_side() -> None:
    found = market(*JOB)
    rows = found["offers"]
    assert len(rows) > 8
    assert [r["usd_per_request"] for r in rows] == sorted(r["usd_per_request"] for r in rows)
    cost = found["cost_per_request"]["value"]
    for row in rows:
        assert row["margin"]["value"] == pytest.approx(1 - cost / row["usd_per_request"])
        assert (row["break_even"] is None) == (row["margin"]["value"] <= 0)
    assert found["spread"] == pytest.approx(rows[-1]["usd_per_request"] / rows[0]["usd_per_request"])
    assert 0 < found["patient_share"] <= 1
    assert any("spare machine" in note for note in found["assumed"])


def test_an_api_that_wins_is_said_plainly() -> None:
    text = run("market", *JOB[:3], *TODAY, "--rate", "rent:40").out
    assert "An API wins at every volume" in text and text.count("API wins") > 5
    one = run("market", *JOB[:3], *TODAY, "--rate", "rent:40", "--offer", "groq/llama-3.1-8b-instant").out
    assert "The API wins at every volume: a machine would have to work" in one


def test_one_offer_and_a_spend() -> None:
    found = market(*JOB, "--offer", "groq/llama-3.1-8b-instant", "--spend", "4000/month", "--redundancy", "0")
    bill = found["bill"]
    assert bill["api_usd_per_month"] == pytest.approx(4000.0)
    assert bill["requests_per_day"] * found["usd_per_request"] * 30.4375 == pytest.approx(4000.0)
    assert bill["machines"] >= 1 and found["self_hosting"]["spare"] == 0
    assert bill["self_usd_per_month"] == pytest.approx(bill["machines"] * 60.0 * 30.4375)
    even = found["self_hosting"]["break_even"]
    assert even["requests_per_day"] * found["usd_per_request"] == pytest.approx(even["machines"] * 60.0)
    text = run("market", *JOB, "--offer", "groq/llama-3.1-8b-instant", "--spend", "4000/month").out
    assert "a month at the API" in " ".join(text.split())
    text = " ".join(text.split())
    assert ("The API wins, by" in text) or ("Serving it yourself wins, by" in text)


def test_spend_and_requests_are_the_same_question() -> None:
    spent = market(*JOB, "--offer", "groq/llama-3.1-8b-instant", "--spend", "365.25k/year")["bill"]
    asked = market(*JOB, "--offer", "groq/llama-3.1-8b-instant", "--requests", repr(spent["requests_per_day"]))["bill"]
    assert {k: v for k, v in asked.items() if k != "origin"} == pytest.approx(
        {k: v for k, v in spent.items() if k != "origin"}
    )


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("input,cached,output,requests", ("3000000,1500000,300000,1000", "6000000,3000000,600000,2000")),
        (
            "input_tokens,cache_read_input_tokens,cache_creation_input_tokens,output_tokens,requests",
            ("1500000,1500000,0,300000,1000", "3000000,3000000,0,600000,2000"),
        ),
        (
            "prompt_tokens,cached_tokens,completion_tokens,requests",
            ("3000000,1500000,300000,1000", "6000000,3000000,600000,2000"),
        ),
    ],
)
def test_usage_by_day_in_three_conventions_is_one_bill(tmp_path: Path, header: str, rows: tuple[str, ...]) -> None:
    (tmp_path / "u.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "own.csv").write_text(OWN)
    found = market(
        *JOB, "--usage", str(tmp_path / "u.csv"), "--prices", str(tmp_path / "own.csv"), "--offer", "mine/llama-3.1-8b"
    )
    daily = (4_500_000 - 2_250_000) * 0.2e-6 + 2_250_000 * 0.02e-6 + 450_000 * 0.9e-6
    assert found["bill"]["api_usd_per_month"] == pytest.approx(daily * 30.4375, rel=1e-9)
    assert found["bill"]["requests_per_day"] == pytest.approx(1500.0)
    assert found["bill"]["peak_over_mean_day"] == pytest.approx(6.6 / 4.95)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("input,cached,output\n10,20,5\n", "line 2: cached and written tokens are part of the input"),
        ("input,cached,output\n10,2,5\n10,2\n", "line 3: 2 cells"), ("input,cached\n10,2\n", "has no output column"),
        ("input,output\n10,-5\n", "line 2: output is '-5'"), ("input,output\n10,nan\n", "line 2: output is 'nan'"),
        ("input,output\nten,5\n", "line 2: input is 'ten'"), ("input,output\n", "no input or no output tokens"),
        ("", "no input column"),
        ("input,output,requests\n10,10,9999\n", "under one token"),
    ],
)  # fmt: skip
def test_bad_usage_is_refused_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "u.csv").write_text(content)
    assert said in refused("market", *JOB, "--usage", str(tmp_path / "u.csv"))


def test_tariffs_on_a_trace_reconcile(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "input,cached,output\n" + "".join(f"{100 + 37 * i},{17 * i},{5 + i}\n" for i in range(60))
    )
    found = market(*JOB, "--trace", str(tmp_path / "t.csv"), "--offer", "openai/gpt-5")
    cost = found["cost"]
    assert cost["usd"] == pytest.approx(cost["bill_usd"], rel=1e-9)
    assert cost["input"] + cost["cached"] + cost["output"] == pytest.approx(cost["usd"], rel=1e-9)
    assert found["shown"] == found["tariffs"][0]["tariff"] == "openai/gpt-5"
    for tariff in found["tariffs"]:
        for groups in tariff["groups"].values():
            assert sum(g["charge_usd"] for g in groups) == pytest.approx(cost["usd"], rel=1e-9)
            assert sum(g["cost_usd"] for g in groups) == pytest.approx(cost["usd"], rel=1e-9)
            assert sum(g["transfer_usd"] for g in groups) == pytest.approx(0.0, abs=1e-9 * cost["usd"])
    moved = {t["tariff"]: t["moved"] for t in found["tariffs"]}
    assert moved["a price each of input and output"] <= moved["one price for all tokens"]


def test_a_trace_in_json_lines_with_block_hashes(tmp_path: Path) -> None:
    lines = [
        {"timestamp": i, "input_length": 1200, "output_length": 9, "hash_ids": [0, 1, 2 + i % 2]} for i in range(4)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    found = run("price", *JOB[:5], "--trace", str(tmp_path / "t.jsonl"), "--json").json()
    tokens = found["bill"]["tokens"]
    assert tokens["cached"] / (tokens["cached"] + tokens["input"]) == pytest.approx((0 + 1024 + 1199 + 1199) / 4800)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "input,cached,output\n10,20,5\n", "line 2: cached is '20.0'; it must be a number from 0 to 10"),
        ("t.csv", "input,output\n10,5\n-3,5\n", "line 3: input is '-3'"),
        ("t.csv", "input,output\n10,nan\n", "line 2: output is 'nan'"),
        ("t.csv", "input,output\n10\n", "line 2: 1 cells, too few"), ("t.csv", "in,out\n10,5\n", "has no input column"),
        ("t.csv", "input,output,blocks\n600,5,0-9\n", "more than the input has"), ("t.jsonl", "{\n", "line 1 is not JSON"),
        ("t.jsonl", "[1]\n", "line 1 holds no object"), ("t.jsonl", '{"input_length": 5}\n', "line 1 has no output column"),
        ("t.jsonl", '{"input_length": 5, "output_length": true}\n', "line 1: output is ''"),
        ("t.jsonl", '{"input_length": 5, "output_length": 1, "hash_ids": ["a"]}\n', "line 1: hash_ids must be whole numbers"),
        ("t.jsonl", '{"input_length": 5, "output_length": 1, "hash_ids": [1, 2, 3]}\n', "line 1: hash_ids must be whole numbers"),
    ],
)  # fmt: skip
def test_bad_traces_are_refused_with_their_line_and_leave_nothing(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    target = tmp_path / "out.json"
    assert said in refused("market", *JOB, "--trace", str(tmp_path / name), "-o", str(target))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_huge_file_is_not_loaded_whole(tmp_path: Path) -> None:
    """10 GB of which the third line is wrong: refused at once, whatever follows."""
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.write(b"input,output\n10,5\n10,x\n")
        file.truncate(10_000_000_000)
    assert "line 3: output is 'x'" in refused("market", *JOB, "--trace", str(path))
    assert "line of over" in refused("market", *JOB, "--usage", str(_sparse(tmp_path)))


def _sparse(folder: Path) -> Path:
    path = folder / "u.csv"
    with path.open("wb") as file:
        file.write(b"input,output\n")
        file.truncate(10_000_000_000)
    return path


def test_a_prefix_cache_needs_block_hashes() -> None:
    assert "needs block hashes" in refused(
        "price", "llama-3.1-8b", "--trace", "azure-2023-code", "--prefix-cache", "1M"
    )


def test_closed_models_show_their_offers_without_a_cost() -> None:
    result = run("market", "claude-sonnet-4-5", *TODAY)
    assert result.code == 0 and "weights unpublished" in result.out and "$15.00" in result.out
    found = market("gpt-5", *TODAY, "--input", "1000", "--output", "100", "--cached", "0.5")
    assert found["cost_per_request"] is None and found["cost_missing"]
    own = next(o for o in found["offers"] if o["offer"] == "openai/gpt-5")
    assert own["usd_per_request"] == pytest.approx((500 * 1.25 + 500 * 0.125 + 100 * 10.0) / 1e6)
    assert "market gpt-5" in refused("price", "gpt-5")


def test_the_whole_list_and_its_history() -> None:
    found = market("--ratios", *TODAY)
    assert found["groups"][0]["models"] == 2044
    assert found["groups"][0]["quartiles"] == pytest.approx([2.0, 11 / 3, 5.0])
    dated = market("gpt-oss-120b", "--history", *TODAY)["prices"]
    assert {"openrouter/openai/gpt-oss-120b", "novita/openai/gpt-oss-120b"} <= {row["offer"] for row in dated}
    everything = market("--history", *TODAY)["prices"]
    assert len(everything) > 300
    beside = market("llama-3.1-8b", "--on", "1xh100-sxm", "--ratios", *TODAY)["cost_ratio"]
    assert 0 < beside[0] < beside[1]


def test_two_machines_make_two_answers_and_csv_has_all() -> None:
    both = market("llama-3.1-8b", "--on", "1xh100-sxm", "--on", "1xh200-sxm", *TODAY)["cases"]
    assert [case["scenario"]["on"] for case in both] == ["1xh100-sxm", "1xh200-sxm"]
    table = run("market", "llama-3.1-8b", "--on", "1xh100-sxm", "--on", "1xh200-sxm", *TODAY, "--csv").out
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == 2 * len(both[0]["offers"]) and {row["on"] for row in rows} == {"1xh100-sxm", "1xh200-sxm"}
    assert float(rows[0]["usd_per_request"]) > 0


@pytest.mark.parametrize("form", ["json", "csv", "md", "html", "txt", "svg", "png"])
@pytest.mark.parametrize(
    "question",
    [JOB, (*JOB, "--offer", "groq/llama-3.1-8b-instant"), (*JOB, "--trace", "azure-2023-code"), ("--ratios", *TODAY),
     ("gpt-oss-120b", "--history", *TODAY), ("gpt-5", *TODAY)],
    ids=["hosts", "offer", "trace", "ratios", "history", "closed"],
)  # fmt: skip
def test_every_view_is_written_in_every_form(tmp_path: Path, question: tuple[str, ...], form: str) -> None:
    pytest.importorskip("vl_convert")
    target = tmp_path / f"out.{form}"
    result = run("market", *question, "-o", str(target))
    assert result.code == 0 and target.stat().st_size > 300, result
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no model was given"), (("llama-3.1-8b", "--offer", "groq/llama-3.1-8b"), "candidates: groq/"),
        (("llama-3.1-8b", "--offer", "nobody/x"), "vendor 'nobody' is not in"), (("no-such-model",), "is not in the catalog"),
        (("mimo-7b", "--on", "1xh100-sxm"), "no offer of the weights"), (("llama-3.1-8b", "--spend", "€4000/month"),
        "convert other currencies"),
        (("llama-3.1-8b", "--spend", "4000"), "write dollars per day"), (("llama-3.1-8b", "--spend", "0/month"), "above 0"),
        (("llama-3.1-8b", "--spend", "9/fortnight"), "write dollars"), (("llama-3.1-8b", "--requests", "-1"), "--requests is -1"),
        (("llama-3.1-8b", "--requests", "nan"), "--requests is nan"), (("llama-3.1-8b", "--redundancy", "-1"),
        "--redundancy is -1"),
        (("llama-3.1-8b", "--written", "2"), "--written is 2"), (("llama-3.1-8b", "--tariff", "x"), "--tariff is 'x'"),
        (("llama-3.1-8b", "--spend", "1/day", "--requests", "5"), "cannot both be given"), (("--ratios", "--history"),
        "cannot both"),
        (("llama-3.1-8b", "--prices", "none.csv"), "is not a file"), (("llama-3.1-8b", "--usage", "none.csv"), "is no file"),
        (("llama-3.1-8b", "--today", "soon"), "--today is 'soon'"), (("llama-3.1-8b", "-o", "x.pdf"), "no known form"),
        (("llama-3.1-8b", "--trace", "none.csv"), "is no file"), (("llama-3.1-8b", "--json", "--csv"), "cannot both be given"),
        (("gpt-5", "--trace", "azure-2023-code"), "weights unpublished"), (("gpt-5", "--input", "5"),
        "both --input and --output"),
        (("gpt-5", "--spend", "5/day"), "cannot be served here"),
        (("claude-opus",), "no vendor in genai-prices"), (("llama-3.1-8b", "--on", "1xgh200-96gb"), "no rent of"),
        (("llama-3.1-8b", "--trace", "mooncake-synthetic"), "the longest request has"),
    ],
)  # fmt: skip
def test_bad_questions_get_a_sentence(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused("market", *arguments)


def test_a_free_offer_buys_no_number_of_requests(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(OWN)
    job = (*JOB, "--prices", str(tmp_path / "own.csv"))
    assert "charges nothing" in refused("market", *job, "--offer", "free/llama-3.1-8b", "--requests", "5")
    assert "free" in refused("market", *job, "--offer", "free/llama-3.1-8b", "--spend", "5/day")
    assert "free/llama-3.1-8b" in run("market", *job).out
    assert "charges nothing" in refused("market", *job, "--trace", "azure-2023-code", "--offer", "free/llama-3.1-8b")


def test_another_currency_at_the_rate_given() -> None:
    assert "EUR at 0.5 EUR a dollar, as given)" in " ".join(run("market", *JOB, "--currency", "EUR=0.5").out.split())
    assert "--currency is 'EUR'" in refused("market", *JOB, "--currency", "EUR")
