"""A probe against servers that misbehave: bounded, said, and what was measured is kept."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pertoken.measure.client import base_of
from pertoken.measure.design import Cell, Design, Writer
from tests.cli.tool import refused, run
from tests.measure.fake import serving

SMALL = ("--max-input", "64", "--max-output", "8", "--at-once", "1,2", "--rounds", "1", "--energy", "none")
ALL = 1 + 6 + 2 * 2 + 4 + 1  # requests of that design: warm, prompts, batches and their prefixes


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait for less than they would."""
    monkeypatch.setattr("pertoken.measure.probe.PAUSE", 0.01)


def probe(url: str, *more: str) -> tuple[str, ...]:
    return ("measure", url, "--model", "m", *SMALL, *more)


def test_a_good_server_is_measured_token_for_token() -> None:
    with serving("ok") as fake:
        found = run(*probe(fake.url, "--json"))
    assert found.code == 0, found.err
    data = found.json()
    sent = sum(len(body["prompt"]) for body in fake.asked)
    assert data["tokens"]["input"] + data["tokens"]["cached"] == sent
    assert data["tokens"]["output"] == sum(body["max_tokens"] for body in fake.asked)
    assert data["tokens"]["cached"] > 0
    assert data["failures"] == {} and data["stopped"] == ""
    assert all(body["stream"] and body["stream_options"] == {"include_usage": True} for body in fake.asked)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("busy", "status 429"),
        ("broken", "status 500"),
        ("drop", "connection was dropped"),
        ("garbage", "garbage instead of events"),
        ("rubbish", "garbage instead of events"),
        ("sorry", "an error in the stream"),
        ("no_usage", "no usage in the stream"),
        ("odd", "usage without token counts"),
        ("more", "usage cannot be true"),
        ("beyond", "usage cannot be true"),
        ("over_cached", "usage cannot be true"),
        ("cut", "ended in the middle"),
        ("whole", "did not stream"),
        ("loop", "redirects"),
        ("long_line", "an event of more than"),
    ],
)
def test_what_a_server_does_wrong_is_said_and_bounded(mode: str, words: str) -> None:
    with serving(mode) as fake:
        line = refused(*probe(fake.url, "--max-requests", "20", "--max-seconds", "20"))
    assert words in line
    assert 1 <= len(fake.asked) <= 20 * (4 if mode == "loop" else 1)


def test_fewer_tokens_than_events_are_a_lie() -> None:
    with serving("less") as fake:
        data = run(*probe(fake.url, "--json")).json()
    assert any(kind.startswith("usage cannot be true: 2 output tokens in 8 events") for kind in data["failures"])
    assert data["tokens"]["output"] == data["answers"]  # what was one token is told truly


@pytest.mark.parametrize("mode", ["busy", "drop", "garbage", "no_usage", "cut"])
def test_what_was_measured_before_is_kept(mode: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    with serving(mode, after=6) as fake:
        found = run(*probe(fake.url, "--json", "-o", str(kept)))
    assert found.code == 0, found.err
    data = found.json()
    assert data["answers"] == 6 and sum(data["failures"].values()) > 0 and "in a row" in data["stopped"]
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 7
    again = run("measure", str(kept), "--json")
    assert again.code == 0 and again.json()["answers"] == 6


@pytest.mark.parametrize("mode", ["hang", "trickle"])
def test_a_server_that_hangs_costs_no_more_than_the_time_given(mode: str) -> None:
    with serving(mode) as fake:
        began = time.monotonic()
        line = refused(*probe(fake.url, "--timeout", "0.2", "--max-seconds", "3"))
        assert time.monotonic() - began < 8
    assert "silent for 0.2 s" in line or "no end within the time" in line


def test_retries_carry_a_probe_through_a_busy_server() -> None:
    with serving("busy_once") as fake:
        found = run(*probe(fake.url, "--json"))
    assert found.code == 0, found.err
    data = found.json()
    assert data["failures"]["status 429"] >= 5 and data["answers"] >= 8
    assert len(fake.asked) <= 3 * ALL


def test_a_redirect_to_another_host_is_refused_and_the_key_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_HERE", "sk-very-secret")
    with serving("ok") as other, serving("away", target=other.url) as fake:
        line = refused(*probe(fake.url, "--key-env", "SECRET_HERE"))
    assert "redirect" in line and "refused" in line and "secret" not in line
    assert other.asked == []
    assert all(h["Authorization"] == "Bearer sk-very-secret" for h in fake.headers)


def test_a_redirect_on_the_same_server_is_followed() -> None:
    with serving("around") as fake:
        assert run(*probe(fake.url)).code == 0


def test_the_key_is_written_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERTOKEN_API_KEY", "sk-very-secret")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # proxies of the environment are not used
    files = [tmp_path / f"out{form}" for form in (".jsonl", ".json", ".txt", ".csv", ".md", ".html")]
    with serving("ok") as fake:
        found = run(*probe(fake.url, *(word for f in files for word in ("-o", str(f)))))
    assert found.code == 0, found.err
    assert fake.headers[0]["Authorization"] == "Bearer sk-very-secret"
    for text in (found.out, found.err, *(f.read_text(encoding="utf-8") for f in files)):
        assert "very-secret" not in text
    with serving("echo") as fake:
        assert "very-secret" not in refused(*probe(fake.url))


def test_a_strict_server_is_asked_without_extensions() -> None:
    with serving("strict") as fake:
        found = run(*probe(fake.url, "--json"))
    assert found.code == 0, found.err
    assert any("knows no ignore_eos" in note for note in found.json()["notes"])
    assert sum("ignore_eos" in body for body in fake.asked) == 1


def test_words_where_token_ids_are_refused_and_by_chat() -> None:
    with serving("words") as fake:
        found = run(*probe(fake.url, "--json"))
    assert found.code == 0 and any("prompts were words" in note for note in found.json()["notes"])
    with serving("ok") as fake:
        assert run(*probe(fake.url, "--chat")).code == 0
    assert all(isinstance(body["messages"][0]["content"], str) for body in fake.asked)


def test_cached_tokens_that_are_not_told_are_not_guessed() -> None:
    with serving("untold") as fake:
        found = run(*probe(fake.url, "--json"))
    data = found.json()
    assert any("does not tell cached tokens" in note for note in data["notes"])
    assert data["parts"]["cached"]["error"] is None


def test_limits_are_kept() -> None:
    with serving("ok") as fake:
        found = run(*probe(fake.url, "--max-requests", "5", "--json"))
        assert found.json()["stopped"] == "--max-requests 5 would be passed" and len(fake.asked) <= 5
    with serving("ok") as fake:
        found = run(*probe(fake.url, "--max-usd", "0.001", "--price", "10:10", "--json"))
        spent = sum(len(b["prompt"]) + b["max_tokens"] for b in fake.asked) * 10 / 1e6
        assert "--max-usd" in found.json()["stopped"] and spent <= 0.001
    with serving("ok") as fake:
        line = refused(*probe(fake.url, "--max-usd", "1"))
        assert "--price" in line and fake.asked == []


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    with serving("hang", after=6) as fake:
        code = "import sys; from pertoken.cli.main import run; run()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *probe(fake.url, "-o", str(kept))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        end = time.monotonic() + 20
        while len(fake.asked) < 7 and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert "stopped early    interrupted" in out
    head, *rows = map(json.loads, kept.read_text(encoding="utf-8").splitlines())
    assert head["stopped"] == "interrupted" and len(rows) == 6


def test_no_server_is_a_sentence() -> None:
    line = refused(*probe("http://127.0.0.1:9"))
    assert "no connection" in line


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "http://",
        "http://u:p@127.0.0.1:1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:1/?key=x",
        "http://a b",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    refused("measure", url, "--model", "m")


def test_addresses_are_cut_to_their_base() -> None:
    for end in ("", "/", "/v1", "/v1/", "/v1/completions", "/v1/chat/completions", "/metrics"):
        assert base_of("http://127.0.0.1:8000" + end) == "http://127.0.0.1:8000"
    assert base_of("https://host/api/v1") == "https://host/api"


def test_a_name_that_only_the_server_knows_is_said_before_anything_is_sent() -> None:
    with serving("ok") as fake:
        line = refused(*probe(fake.url, "--on", "1xl40s"))
        assert "--as MODEL" in line and fake.asked == []
        refused(*probe(fake.url, "--on", "1xl40s", "--as", "no-such-model"))
        refused(*probe(fake.url, "--on", "1xno-such-card", "--as", "llama-3.1-8b"))
        assert fake.asked == []


def test_bad_options_are_sentences() -> None:
    url = "http://127.0.0.1:9"
    for more in (
        ("--at-once", "1,x"), ("--at-once", "0"), ("--max-input", "3"), ("--max-output", "1"), ("--rounds", "0"),
        ("--max-seconds", "-1"), ("--max-requests", "0"), ("--price", "x"), ("--timeout", "0"), ("--energy", "sun"),
        ("--watts", "-3"), ("--key-env", "NOT_SET_ANYWHERE"), ("-o", "x.exe"), ("--as", "no-such-model", "--on", "1xl40s"),
        ("--watch", "--every", "0"), ("--json", "--csv"),
    ):  # fmt: skip
        refused("measure", url, "--model", "m", *more)
    refused("measure", url)
    refused("measure")
    refused("measure", "here", url)
    refused("measure", "no-such-file.json")


def test_the_design_covers_what_the_fit_needs() -> None:
    cells = Design(1024, 16, (1, 4), 2).cells()
    lengths = {c.input for c in cells if c.kind == "prompt"}
    assert len(lengths) >= 4 and {c.batch for c in cells if c.kind == "decode"} == {1, 4}
    assert any(c.prefix for c in cells if c.kind == "chunk") and any(c.prefix for c in cells if c.kind == "decode")


def test_prompts_are_fresh_and_prefixes_repeat() -> None:
    writer = Writer(7, True, 500)
    first = writer.group(Cell("prefix", 1, 40, 1))[0].content
    second = writer.group(Cell("chunk", 1, 50, 1, 40))[0].content
    third = writer.group(Cell("prompt", 1, 50, 1))[0].content
    assert second[:40] == first and len(second) == 50 and third[:10] != first[:10]
    assert all(100 <= i < 500 for i in (*second, *third))
    words = Writer(7, False).group(Cell("prompt", 2, 30, 1))
    assert all(re.fullmatch(r"([a-z]+ ){29}[a-z]+", p.content) for p in words)
