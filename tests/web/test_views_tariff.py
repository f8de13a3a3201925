"""The view Tariff over HTTP: figures of the command, traces of one's own, and hostile files."""

from __future__ import annotations

from typing import Any

import pytest

from pertoken.web.guard import MOST_UPLOAD

CASE = {"model": "llama-3.1-8b", "on": "h100-sxm"}
CSV = {"content-type": "text/csv"}


def ask(client: Any, knobs: dict[str, Any] = CASE, **options: Any) -> dict[str, Any]:
    answer = client.post("/api/view/tariff", json={"knobs": knobs, "options": options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def put(client: Any, content: Any) -> Any:
    return client.post("/api/upload", params={"name": "mine.csv"}, content=content, headers=CSV)


@pytest.mark.parametrize("trace", ["azure-2023-code", "mooncake-conversation"])
def test_tariffs_and_tenths_are_the_command_s(client: Any, trace: str) -> None:
    found = ask(client, trace=trace)
    told = client.post("/api/market", json={"knobs": {**CASE, "trace": trace}, "options": {}}).json()
    moved = {row[0]: row[1] for row in found["tables"][0]["rows"]}
    assert moved == {each["tariff"]: f"{each['moved']:.2%}" for each in told["tariffs"]}
    flat = next(each for each in told["tariffs"] if each["tariff"] == told["shown"])
    for table, by in zip(found["tables"][1:], ("input", "output"), strict=True):
        over = [f"{g['charge_usd'] / g['cost_usd'] - 1:+.1%}" for g in flat["groups"][by]]
        assert [row[4] for row in table["rows"]] == over
        cards = [card for card in found["cards"] if card["of"] == by]
        ends = [flat["groups"][by][i] for i in (0, -1)]
        assert [card["value"] for card in cards] == pytest.approx([g["charge_usd"] / g["cost_usd"] for g in ends])
        paid = [g["charge_usd"] for g in flat["groups"][by]]
        assert sum(paid) == pytest.approx(sum(g["cost_usd"] for g in flat["groups"][by]), rel=1e-9)
    assert f"--trace {trace}" in found["command"]


def test_another_form_or_an_offer_is_shown_from_the_same_fit(client: Any) -> None:
    forms = [choice["value"] for choice in ask(client)["choices"]["form"]]
    assert forms[:2] == ["one", "flat"] and "cached" not in forms, "no cached tokens in this trace"
    seen = {form: ask(client, form=form)["tables"][1] for form in forms}
    assert len({str(table["rows"]) for table in seen.values()}) > 2
    told = client.post(
        "/api/market", json={"knobs": {**CASE, "trace": "azure-2023-conversation"}, "options": {"tariff": "cliff"}}
    ).json()
    cliff = next(each for each in told["tariffs"] if each["tariff"] == told["shown"])
    over = [f"{g['charge_usd'] / g['cost_usd'] - 1:+.1%}" for g in cliff["groups"]["input"]]
    assert [row[4] for row in seen["cliff"]["rows"]] == over
    offer = "anthropic/claude-sonnet-4-5"
    assert ask(client, offer=offer)["tables"][1]["title"].endswith(offer)


def test_lengths_of_the_page_give_way_to_the_trace(client: Any) -> None:
    assert ask(client, {**CASE, "input": "1000", "output": "100"})["trace"] == "azure-2023-conversation"
    assert ask(client, {**CASE, "trace": "azure-2023-code"})["trace"] == "azure-2023-code"


def test_a_trace_of_one_s_own_is_judged(client: Any) -> None:
    lines = "".join(f"{100 + 37 * i % 9000},{20 + 11 * i % 700}\n" for i in range(400))
    sent = put(client, f"input,output\n{lines}").json()
    found = ask(client, trace=sent["upload"])
    assert "mine.csv, 400 requests" in found["sentences"][0] and "/tmp" not in str(found)
    same = client.post(
        "/api/export", json={"what": "tariff", "form": "csv", "knobs": {**CASE, "trace": sent["upload"]}, "options": {}}
    )
    assert same.status_code == 200 and same.text.startswith("asked,on,")


def test_limits_are_said(client: Any) -> None:
    assert ask(client)["limits"] == {"bytes": MOST_UPLOAD, "requests": 5_000_000}


LINED = [
    ("input,output\n100,10\n=1+1,10\n", 3), ("input,output\n100,10\n@SUM(A1),10\n", 3), ("input,output\n<b>x</b>,10\n", 2),
    ("input,output\n100,10\n100\n", 3), ("input,output\n100,10\n-5,10\n", 3), ("input,output\n5,nan\n", 2),
    ("input,output\n100,10\n1\x000,10\n", 3), (b"input,output\n100,10\n\xff\xfe,10\n", 3), ("input,output\n1e999,1\n", 2),
    ("input,output\n1,0\n", 2),
]  # fmt: skip


@pytest.mark.parametrize(("content", "line"), LINED, ids=range(len(LINED)))
def test_a_wrong_cell_is_told_with_its_line(client: Any, content: Any, line: int) -> None:
    answer = put(client, content)
    said = answer.json()["error"]
    assert answer.status_code == 400 and f"mine.csv line {line}" in said and said.isprintable() and len(said) < 400


@pytest.mark.parametrize(
    ("content", "word"),
    [("a,b\n1,2\n", "input"), ("input,output\n" + "9" * 200_000 + ",1\n", "100,000 characters"), ("", "empty"),
     ("input,output\n", "no requests"), ("input,output\n".encode("utf-16"), "input")],
)  # fmt: skip
def test_a_wrong_table_is_a_sentence(client: Any, content: Any, word: str) -> None:
    answer = put(client, content)
    assert answer.status_code == 400 and word in answer.json()["error"]


def test_ten_million_rows_are_refused_while_they_come(client: Any) -> None:
    def pieces() -> Any:
        for _ in range(100):
            yield b"10,10\n" * 100_000

    answer = put(client, pieces())
    assert answer.status_code == 413 and f"{MOST_UPLOAD:,} bytes" in answer.json()["error"]


def test_tokens_by_day_are_no_requests(client: Any) -> None:
    sent = put(client, "date,input,output\n2026-11-01,100000000,0\n2026-11-02,200000000,40000000\n").json()
    assert sent["kind"] == "usage"
    answer = client.post("/api/view/tariff", json={"knobs": CASE, "options": {"trace": sent["upload"]}})
    assert answer.status_code == 400 and answer.json()["error"].isprintable()


@pytest.mark.parametrize(
    "options",
    [{"trace": "../../etc/passwd"}, {"trace": 5}, {"trace": "upload:" + "ab" * 16}, {"trace": "upload:../x"}, {"form": "x" * 400},
     {"form": None}, {"form": ["one"]}, {"offer": "nobody/x"}, {"offer": {"a": 1}}],
)  # fmt: skip
def test_hostile_options_are_sentences(client: Any, options: dict[str, Any]) -> None:
    answer = client.post("/api/view/tariff", json={"knobs": CASE, "options": options})
    assert answer.status_code == 400 and answer.json()["error"].isprintable()


def test_a_trace_too_long_for_the_model_says_so(client: Any) -> None:
    answer = client.post(
        "/api/view/tariff",
        json={"knobs": {**CASE, "model": "mistral-7b-v0.3"}, "options": {"trace": "mooncake-conversation"}},
    )
    assert answer.status_code in (400, 422) and "tokens" in answer.json()["error"]
