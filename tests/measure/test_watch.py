"""Counters of four engines, windows between them, and a bill that adds up."""

from __future__ import annotations

import json
import math
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertoken.errors import PertokenError
from pertoken.measure.exporter import Exporter
from pertoken.measure.watch import ENGINES, Reading, Watch, Weights, parse, read, share
from tests.cli.tool import refused, run
from tests.measure.fake import serving

PAGES = {
    "vllm": 'vllm:prompt_tokens_total{engine="0",model_name="m"} 600\nvllm:prompt_tokens_total{engine="1",model_name="m"} 400\n'
            'vllm:prefix_cache_hits_total{engine="0"} 250\nvllm:generation_tokens_total 70\nvllm:num_requests_running 3\n',
    "sglang": 'sglang:prompt_tokens_total{is_streaming="true"} 1000\nsglang:cached_tokens_total{cache_source="device"} 200\n'
              'sglang:cached_tokens_total{cache_source="host"} 50\nsglang:generation_tokens_total 70\n'
              'sglang:num_running_reqs 3\n',
    "llamacpp": "llamacpp:prompt_tokens_total 750\nllamacpp:prompt_tokens_cached_total 250\nllamacpp:tokens_predicted_total 70\n"
                "llamacpp:requests_processing 3\nllamacpp:requests_deferred 0\n",
    "tgi": 'tgi_request_input_length_sum 750\ntgi_request_input_length_bucket{le="10"} 1\ntgi_request_generated_tokens_sum 70\n'
           "tgi_batch_current_size 3\ntgi_queue_size 0\n",
}  # fmt: skip


@pytest.mark.parametrize("engine", PAGES)
def test_every_engine_counts_the_same(engine: str) -> None:
    reading = read(f"# HELP x y\n{PAGES[engine]}nonsense line {{\n", 1.0)
    assert (reading.engine, reading.input, reading.output, reading.running) == (engine, 750.0, 70.0, 3.0)
    assert math.isnan(reading.cached) if engine == "tgi" else reading.cached == 250.0


def test_newer_names_come_first() -> None:
    page = PAGES["vllm"] + "vllm:prompt_tokens_cached_total 100\n"
    assert read(page, 0.0).cached == 100.0
    assert len({names.prefix for names in ENGINES}) == 4


def test_hostile_pages() -> None:
    assert parse('a{b="c d"} 1\na{b="}"} 2\nb NaN\nc +Inf\nd 1e3 1700000000\n e\n\x00\n') == {"a": 3.0, "d": 1000.0}
    for page in ("", "<html>", "go_gc 1\n"):
        with pytest.raises(PertokenError, match="no counters of a known engine"):
            read(page, 0.0)


def looks(*rows: tuple[float, float, float, float, float]) -> list[Reading]:
    return [Reading("vllm", *row, 0.0) for row in rows]


def test_a_window_from_looks() -> None:
    watch = Watch(0.01, Weights(1.0, 0.0, 4.0, "made up"))
    for reading in looks((0, 0, 0, 0, 1), (5, 100, 50, 20, 0), (10, 400, 100, 100, 2)):
        watch.look(reading)
    window = watch.window()
    assert window is not None and window.seconds == 10
    assert window.tokens == {"input": 400, "cached": 100, "output": 100}
    assert window.busy == pytest.approx(2 / 3) and window.usd == pytest.approx(0.1)
    assert window.usd_of["input"] == pytest.approx(window.usd_of["output"]) and window.usd_of["cached"] == 0.0
    assert window.per_million("output") == pytest.approx(1e6 * 0.1 * 2 / 3 / 2 / 100)
    assert window.blended == pytest.approx(1e6 * 0.1 / 600)
    for reading in looks((20, 500, 100, 100, 0)):
        watch.look(reading)
    after = watch.window()
    assert (
        after is not None and after.seconds == 10 and after.busy == 0.0 and after.usd_of["idle"] == pytest.approx(0.1)
    )


def test_an_engine_that_started_again_is_no_negative_bill() -> None:
    watch = Watch(0.01)
    for reading in looks((0, 1000, 0, 1000, 1), (10, 5, 0, 5, 1)):
        watch.look(reading)
    assert watch.window() is None
    watch.look(looks((20, 15, 0, 10, 1))[0])
    window = watch.window()
    assert window is not None and window.tokens["input"] == 10


AMOUNT = st.floats(0, 1e9)


@given(
    AMOUNT, st.floats(0, 1) | st.just(math.nan), st.dictionaries(st.sampled_from(["input", "cached", "output"]), AMOUNT),
    st.none() | st.tuples(AMOUNT, AMOUNT, AMOUNT),
)  # fmt: skip
def test_the_bill_adds_up(
    usd: float, busy: float, tokens: dict[str, float], weights: tuple[float, float, float] | None
) -> None:
    shares = share(usd, busy, tokens, Weights(*weights, "") if weights else None)
    assert math.fsum(shares.values()) == pytest.approx(usd, rel=1e-9, abs=1e-12)
    assert all(part >= -1e-9 * usd for part in shares.values())


def test_the_exporter_serves_the_last_window() -> None:
    watch = Watch(0.01, Weights(1.0, 0.0, 4.0, "made up"))
    for reading in looks((0, 0, 0, 0, 1), (10, 400, 100, 100, 2)):
        watch.look(reading)
    window = watch.window()
    exporter = Exporter(0)
    try:
        assert window is not None
        exporter.show(window)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{exporter.port}/metrics", timeout=5) as page:
            found = parse(page.read().decode())
    finally:
        exporter.close()
    assert found["pertoken_tokens_total"] == 600.0 and found["pertoken_usd_total"] == pytest.approx(0.1)
    assert found["pertoken_utilisation"] == 1.0 and found["pertoken_idle_share"] == 0.0
    assert found["pertoken_usd_per_million_tokens"] > 0


def test_the_command_follows_a_page() -> None:
    with serving("ok") as fake:
        ask = (
            "measure",
            fake.url,
            "--watch",
            "--every",
            "0.2",
            "--max-seconds",
            "0.7",
            "--on",
            "2xl40s",
            "--rate",
            "rent:1",
        )
        found = run(*ask, "--json")
        text = run(*ask, "--exporter", "0")
    assert found.code == 0, found.err
    windows = list(map(json.loads, found.out.splitlines()))
    assert len(windows) >= 2 and windows[0]["usd"] == pytest.approx(2.0 / 3600 * windows[0]["seconds"])
    assert "the bill is not shared" in found.err and fake.asked == []
    assert text.code == 0 and "$/M output" in text.out and "exporting on http://127.0.0.1:" in text.err


def test_a_page_that_is_not_there_is_a_sentence() -> None:
    line = refused(
        "measure",
        "http://127.0.0.1:9",
        "--watch",
        "--every",
        "0.1",
        "--on",
        "1xl40s",
        "--rate",
        "rent:1",
        "--as",
        "llama-3.1-8b",
    )
    assert "metrics cannot be read" in line
