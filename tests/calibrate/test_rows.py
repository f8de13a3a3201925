"""Rows of tables: units, spellings, loads, and cells that are wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertoken.calibrate.cells import Refused
from pertoken.calibrate.rows import COLUMNS, SETTINGS, read_row, states_enough
from pertoken.catalog.measured import load_names

NAMES = load_names()
GOOD = {
    "source": "mine", "engine": "vLLM", "model": "llama-3.1-8b", "gpu": "h100_sxm", "n_gpus": "1", "tp": "1", "isl": "1024",
    "osl": "128", "concurrency_or_max_batch": "16", "metric": "ttft/tpot (closed loop)", "ttft_ms": "60", "tpot_ms": "9",
}  # fmt: skip


def row(**cells):
    return read_row(2, GOOD | cells, NAMES)


def test_milliseconds_become_seconds():
    found = row(throughput="1500", metric="output_tok_s_total")
    assert found.measured == pytest.approx({"ttft": 0.06, "tpot": 0.009, "throughput": 1500.0})
    assert (found.load, found.amount, found.regime) == ("closed", 16.0, "mid")


def test_per_accelerator_throughput_is_of_all():
    found = row(n_gpus="4", tp="4", throughput="1000", metric="output_tok_s_per_gpu", request_rate="inf")
    assert found.measured["throughput"] == 4000


@pytest.mark.parametrize(
    ("cells", "load", "regime"),
    [
        ({"concurrency_or_max_batch": "1"}, "closed", "batch 1"),
        ({"concurrency_or_max_batch": "512"}, "closed", "saturated"),
        ({"notes": "static batch; e2e_latency_s=3"}, "static", "static batch"),
        ({"metric": "ttft/tpot p50 (batch 1)"}, "alone", "batch 1"),
        ({"metric": "", "request_rate": "2.5", "concurrency_or_max_batch": ""}, "open", "open loop"),
        ({"metric": "", "request_rate": "inf", "concurrency_or_max_batch": ""}, "saturated", "saturated"),
        ({"notes": "client_concurrency does not set engine batch: 100 requests"}, "burst", "saturated"),
    ],
)
def test_loads(cells, load, regime):
    found = row(**cells)
    assert (found.load, found.regime) == (load, regime)


def test_random_range_is_uniform():
    found = row(notes="InferenceX random_range_ratio 0.8: true ISL/OSL uniform in [0.8L,L]")
    assert (found.input, found.output) == ("uniform:819-1024", "uniform:102-128")


def test_lengths_of_a_documented_data_set():
    bare = {"isl": "", "osl": "", "notes": "suite_A; dataset=sharegpt_standard_v1 (in p50 280, out max 512)"}
    found = row(**bare)
    assert found.input == "282" and found.output == "uniform:188-512"
    assert any("sharegpt" in text for text in found.assumed)
    assert states_enough(GOOD | bare, NAMES)
    assert not states_enough(GOOD | {"isl": "", "osl": ""}, NAMES)


def test_own_totals_come_before_the_data_sets():
    notes = "dataset=sharegpt_standard_v1; total_tok_s=2000; elapsed_s=30; does not set engine batch: 100 requests"
    found = row(isl="", osl="", throughput="1200", metric="output_tok_s_total", notes=notes)
    assert float(found.input) == pytest.approx(240)
    assert found.output == "uniform:208-512"


@pytest.mark.parametrize(
    ("notes", "split"),
    [
        ("Parallelism Type=Tensor Parallelism", {"tp": 4}),
        ("Parallelism Type=Pipeline Parallelism", {"tp": 1, "pp": 4}),
        ("Parallelism Type=Hybrid TP = 2 and PP = 2", {"tp": 2, "pp": 2}),
        ("Parallelism Type=Hybird Tensor (2) and Pipeline (2) Parallelism", {"tp": 2, "pp": 2}),
        ("Parallelism Type=EP", {"tp": 4, "ep": 4}),
        ("Parallelism Type=Hybrid TP = 2 and EP = 2", {"tp": 4, "ep": 2}),
    ],
)
def test_splits_in_words(notes, split):
    assert row(n_gpus="4", tp="", notes=notes).split == split


def test_mixed_formats_go_by_the_experts():
    assert row(weight_dtype="gemm=fp8;moe=fp8_block").weights == "fp8_block"
    assert row(weight_dtype="FP4").weights == "nvfp4"
    assert row(weight_dtype="").weights == ""


@pytest.mark.parametrize(
    ("cells", "kind", "words"),
    [
        ({"model": ""}, "unstated", "model"),
        ({"gpu": "N/A"}, "unstated", "gpu"),
        ({"n_gpus": ""}, "unstated", "n_gpus"),
        ({"n_gpus": "two"}, "unreadable", "n_gpus"),
        ({"n_gpus": "1.5"}, "unreadable", "whole"),
        ({"ttft_ms": "60 ms"}, "unreadable", "milliseconds"),
        ({"tpot_ms": "0.009"}, "unreadable", "another unit"),
        ({"tpot_ms": "nan!"}, "unreadable", "tpot_ms"),
        ({"ttft_ms": "", "tpot_ms": ""}, "unstated", "no figure"),
        ({"isl": ""}, "unstated", "lengths"),
        ({"isl": "-5"}, "unreadable", "isl"),
        ({"concurrency_or_max_batch": ""}, "unstated", "concurrency"),
        ({"notes": "mode=disagg"}, "unmodelled", "disaggregated"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(cells, kind, words):
    with pytest.raises(Refused, match=words) as found:
        row(**cells)
    assert found.value.kind == kind


def test_mlperf_without_documented_inputs_says_so():
    with pytest.raises(Refused, match="mean input length is not documented"):
        row(source="MLPerf Inference v5.1", model="llama2-70b-99", isl="", osl="", notes="scenario=Offline")


@given(st.dictionaries(st.sampled_from(COLUMNS), st.text(max_size=40)))
def test_no_cell_breaks_the_reader(cells):
    try:
        found = read_row(1, GOOD | cells, NAMES)
    except Refused as error:
        assert str(error)
    else:
        assert all(math.isfinite(v) and v > 0 for v in found.measured.values())


def test_settings_that_a_source_documents_reach_the_profile():
    internal = {"notes": "family=NVIDIA-internal; mode=agg", "engine": "trtllm", "engine_version": "1.0.0rc3"}
    found = row(**internal)
    assert found.settings == {"token_budget": 1024 + 16 + 1500, "graph_sequences": 4096}
    assert any("1,500 tokens" in note for note in found.assumed)
    assert row().settings == {}
    recipe = {
        "notes": "family=InferenceX; mode=agg",
        "engine": "trtllm",
        "model": "meta-llama/Llama-3.1-70B",
        "weight_dtype": "fp8",
    }
    waits = row(**recipe, isl="1024", osl="1024", tp="4", n_gpus="4")
    assert waits.settings == {"token_budget": 16384.0, "wait_steps": 20.0, "graph_sequences": 1024.0}
    assert waits.kv == "fp8"
    # numbers are compared, not looked for: 8 is not among 1, 2 and 4, and 10240 is not 1024
    assert "wait_steps" not in row(**recipe, isl="1024", osl="1024", tp="8", n_gpus="8").settings
    assert "wait_steps" not in row(**recipe, isl="10240", osl="1024", tp="4", n_gpus="4").settings


def test_a_source_is_known_in_any_file():
    recipe = {"engine": "TRT-LLM", "engine_version": "1.2.0", "model": "deepseek-r1", "weight_dtype": "fp4", "gpu": "B200",
              "n_gpus": "8", "tp": "", "dp": "8", "isl": "8192", "osl": "1024", "concurrency_or_max_batch": "128"}  # fmt: skip
    theirs = row(**recipe | {"source": "InferenceMAX v1"})
    assert theirs.settings["balance_steps"] == 60
    assert theirs.settings["token_budget"] == 8192 + 128 + 64
    assert theirs.input == "uniform:6554-8192"
    mine = row(**recipe)  # negative control: no recipe is known of another source
    assert "balance_steps" not in mine.settings
    assert mine.input == "8192"
    assert row(source="InferenceX", notes="random_range_ratio 0.5").input == "uniform:512-1024"


def test_every_rule_of_settings_has_a_source_and_is_read():
    figures = {"kv", "budget_past_input", "range_ratio", *SETTINGS}
    for rule in NAMES.settings:
        assert {"note", "title", "url", "read"} <= set(rule)
        assert set(rule) & figures, rule
        assert set(rule) <= {*COLUMNS, "who", *figures, "note", "title", "url", "read"}, rule
