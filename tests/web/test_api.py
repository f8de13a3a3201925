"""The API says what the command says, keeps what it may, and answers every mistake with a sentence."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from pertoken.cli.main import cli
from pertoken.knobs import KNOBS
from pertoken.web.api import COMMANDS, VIEWS
from pertoken.web.catalog import HIDDEN, START
from pertoken.web.commands import OPTIONS

FLAGS = ("--on", "h100-sxm", "--input", "1000", "--output", "100")


def ask(client, path, body):
    return client.post(f"/api/{path}", json=body)


def test_knobs_are_those_of_the_table(client):
    found = client.get("/api/knobs").json()
    assert [k["name"] for k in found["knobs"]] == [name for name in KNOBS if name not in HIDDEN]
    assert found["start"] == START
    assert 1 <= sum(k["main"] for k in found["knobs"]) <= 8
    assert {k["group"] for k in found["knobs"] if k["main"]} == {"model", "machine", "traffic", "money"}


@pytest.mark.parametrize("name", [name for name, knob in KNOBS.items() if knob.slider])
def test_both_ends_of_a_slider_are_allowed(name):
    slider = KNOBS[name].slider
    assert slider.low < slider.high and slider.scale in ("log", "linear", "steps")
    assert slider.low > 0 or slider.scale == "linear"
    for end in (slider.low, slider.high, *slider.steps):
        KNOBS[name].read(slider.form.format(end) if KNOBS[name].kind == "text" else end)


def test_the_catalog_has_what_may_be_asked_for(client):
    found = client.get("/api/catalog").json()
    assert {"llama-3.1-8b", "deepseek-v3"} <= {m["name"] for m in found["models"]}
    h100 = next(a for a in found["accelerators"] if a["name"] == "h100-sxm")
    assert 70e9 < h100["memory_bytes"] < 100e9 and 0.5 < h100["rent_usd_per_hour"] < 20 and h100["rent_date"]
    assert "vllm" in found["engines"] and "azure-2023-conversation" in found["traces"] and "fp8" in found["dtypes"]
    small = next(m for m in found["models"] if m["name"] == "llama-3.1-8b")
    assert 7.9e9 < small["parameters"] < 8.2e9


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "market"])
def test_a_path_says_what_its_command_prints(client, knobs, name):
    done = CliRunner().invoke(cli, [name, "llama-3.1-8b", *FLAGS, "--json"], standalone_mode=False)
    assert ask(client, name, {"knobs": knobs}).json() == json.loads(done.stdout)


def test_a_market_says_what_its_command_prints(client, knobs):
    asked = {"knobs": knobs, "options": {"today": "2026-11-22"}}
    done = CliRunner().invoke(cli, ["market", "llama-3.1-8b", *FLAGS, "--json", "--today", "2026-11-22"])
    assert ask(client, "market", asked).json() == json.loads(done.stdout)


def test_cases_are_compared(client, knobs):
    found = ask(client, "price", {"cases": [knobs, {**knobs, "on": "2xh100-sxm"}]}).json()
    assert [c["machine"]["accelerators"] for c in found["cases"]] == [1, 2]


def test_options_reach_the_command(client, knobs):
    found = ask(client, "curve", {"knobs": knobs, "options": {"positions": "1,11", "view": ["fair", "alone"]}}).json()
    assert {case["view"] for case in found["cases"]} == {"fair", "alone"}


def test_simulation_tells_how_far_it_is_and_ends_with_the_command_s_result(client, knobs):
    options = {"requests": 2000, "seed": 3}
    found = ask(client, "simulate", {"knobs": knobs, "options": options})
    lines = [json.loads(line) for line in found.text.splitlines()]
    assert found.headers["content-type"] == "application/x-ndjson"
    assert all(0 <= line["progress"] <= 1 for line in lines[:-1])
    done = CliRunner().invoke(cli, ["simulate", "llama-3.1-8b", *FLAGS, "--requests=2000", "--seed=3", "--json"])
    assert lines[-1]["result"] == json.loads(done.stdout)


def test_a_bad_simulation_is_refused_before_it_streams(client, knobs):
    found = ask(client, "simulate", {"knobs": {**knobs, "cached": 0.5}})
    assert found.status_code == 400 and "no meaning in a simulation" in found.json()["error"]
    found = ask(client, "simulate", {"knobs": knobs, "options": {"requests": 10_000_000}})
    assert found.status_code == 400 and "at most 200,000" in found.json()["error"]


BAD = [
    ({}, "knobs"),
    ([], "object"),
    ({"knobs": {"model": "llama-3.1-8b"}, "cases": []}, "one of the two"),
    ({"knobs": 3}, "object"),
    ({"cases": []}, "1 to 8"),
    ({"cases": [{"model": "llama-3.1-8b"}] * 9}, "1 to 8"),
    ({"cases": [3]}, "object"),
    ({"knobs": {}}, "no model"),
    ({"knobs": {"model": None, "on": "h100-sxm"}}, "no model"),
    ({"knobs": {"model": "llama-3.1-8b", "nope": 1}}, "'nope' is no knob"),
    ({"knobs": {"model": "llama-3.1-8b", "cached": 2}}, "from 0 to 1"),
    ({"knobs": {"model": "llama-3.1-8b", "cached": None, "tp": True}}, "--tp"),
    ({"knobs": {"model": "llama-3.1-8b", "tp": 10**400}}, "--tp"),
    ({"knobs": {"model": "llama-3.1-8b", "input": {"$gt": ""}}}, "--input"),
    ({"knobs": {"model": "llama\n3"}}, "control characters"),
    ({"knobs": {"model": "\ud800"}}, "control characters"),
    ({"knobs": {"\ud800": "x"}}, "is no knob"),
    ({"knobs": {"model": "llama-3.1-8b"}, "extra": 1}, "'extra' is no key"),
    ({"knobs": {"model": "llama-3.1-8b"}, "options": 3}, "options must be an object"),
    ({"knobs": {"model": "llama-3.1-8b"}, "options": {"output-file": "/tmp/x"}}, "is no option here"),
    ({"knobs": {"model": "llama-3.1-8b"}, "options": {"what_if": ["--json", "-o/tmp/x"]}}, "-"),
]


MISTAKES = [
    (path, body, said)
    for path in ("price", "page", "view/why", "simulate")
    for body, said in BAD
    if path == "price" or "options" not in body  # which are each command's own
]


@pytest.mark.parametrize(("path", "body", "said"), MISTAKES, ids=[f"{p} {json.dumps(b)[:50]}" for p, b, _ in MISTAKES])
def test_a_mistake_is_a_sentence(client, path, body, said):
    sent = json.dumps(body).encode()
    found = client.post(f"/api/{path}", content=sent, headers={"content-type": "application/json"})
    assert (found.status_code, found.json()["exit_code"]) == (400, 2)
    assert said in found.json()["error"] and "Traceback" not in found.text


def test_what_does_not_fit_says_so_as_the_command_does(client):
    found = ask(client, "price", {"knobs": {"model": "llama-3.1-405b", "on": "1xh100-sxm"}})
    assert (found.status_code, found.json()["exit_code"]) == (422, 3)


@pytest.mark.parametrize("depth", [50, 200, 330, 500, 900, 985, 1500])
def test_a_nested_body_is_refused(client, depth):
    nested = '{"a":' * depth + "1" + "}" * depth
    for body in (f'{{"knobs": {nested}}}', f'{{"knobs": {{"model": {nested}}}}}', nested, f'{{"cases": [{nested}]}}'):
        for path in ("page", "simulate", "export"):
            found = client.post(f"/api/{path}", content=body, headers={"content-type": "application/json"})
            assert found.status_code == 400 and len(found.text) < 1000


@pytest.mark.parametrize("sent", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"knobs": 1e999}', b"nul", b"9" * 5000])
def test_what_is_no_json_is_refused(client, sent):
    found = client.post("/api/page", content=sent, headers={"content-type": "application/json"})
    assert found.status_code == 400 and found.json()["error"]


@pytest.mark.parametrize(
    ("path", "status"), [("/nope", 404), ("/api/nope", 404), ("/static/../app.py", 404), ("/static/%2e%2e/app.py", 404),
                         ("/static/..%2fapp.py", 404), ("/api/price", 405), ("/static/", 404)],
)  # fmt: skip
def test_other_paths_are_errors_in_the_same_form(client, path, status):
    found = client.get(path)
    assert found.status_code == status and set(found.json()) == {"error", "exit_code"}


def test_views_are_those_of_the_list(client, knobs):
    found = ask(client, "view/nope", {"knobs": knobs})
    assert found.status_code == 404 and ", ".join(VIEWS) in found.json()["error"]


def test_no_command_takes_a_path():
    flags = {name for names in OPTIONS.values() for name in names}
    assert not flags & {"output_file", "o", "scenario", "prices", "keep", "workers"}


def test_the_first_screen_has_all_that_it_shows(client, knobs):
    found = ask(client, "page", {"knobs": knobs, "charts": ["receipt"]}).json()
    assert {"input", "output", "cached", "ratio", "input_joules", "output_grams", "ttft", "batch"} <= set(
        found["figures"]
    )
    priced = ask(client, "price", {"knobs": knobs}).json()
    for name in ("input", "output"):
        figure = found["figures"][name]
        assert [figure[k] for k in ("value", "low", "high")] == pytest.approx(
            [priced["per_million"][name][k] for k in ("value", "low", "high")], rel=1e-12
        )
        assert figure["formula"] and figure["inputs"] and figure["shown"].startswith("$")
    assert math.isclose(sum(leaf["usd_share"] for leaf in found["receipt"]), 1.0, abs_tol=1e-9)
    assert found["scenario"] == priced["scenario"] and found["assumed"] == priced["assumed"]
    assert set(found["rows"]) == {"receipt"} and found["why"].endswith(".") and found["effective"]["concurrency"] > 1


def test_an_answer_is_kept(client, knobs):
    body = {"knobs": {**knobs, "input": 1234}}
    first, again = ask(client, "price", body), ask(client, "price", body)
    assert first.content == again.content and first.headers["cache-control"] == "no-store"


def test_answers_are_packed_for_those_who_take_it(client, knobs):
    packed = ask(client, "price", {"knobs": knobs})
    plain = client.post("/api/price", json={"knobs": knobs}, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
