"""Files of five load generators come to the same load, and are held against the prediction."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.errors import PertokenError
from pertoken.measure import readers, records
from pertoken.measure.runs import Run
from tests.cli.tool import refused, run
from tests.measure import results

ON = ("--on", "1xh100-sxm", "--dtype", "bf16", "--rate", "rent:2.50")
SAME = {
    "vllm": [results.vllm()],
    "aiperf": [results.aiperf()],
    "aiperf lines": [results.aiperf_record(t / 2.0) for t in range(80)],
    "guidellm": [results.guidellm()],
    "guidellm 2": [results.guidellm(2)],
    "inference-perf": [results.inference_perf()],
    "inference-perf requests": [results.inference_perf_request(t / 2.0) for t in range(80)],
}


def written(folder: Path, documents: list[Any], lines: bool) -> Path:
    path = folder / ("result.jsonl" if lines else "result.json")
    text = (
        "\n".join(map(json.dumps, documents))
        if lines
        else json.dumps(documents[0] if len(documents) == 1 else documents)
    )
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("lines", [False, True])
def test_every_tool_tells_the_same(name: str, lines: bool, tmp_path: Path) -> None:
    path = written(tmp_path, SAME[name], lines)
    loads = readers.runs_of(readers.read_documents(path), path.name)
    load = loads[1] if name.startswith("guidellm") else loads[0]
    assert (load.input, load.output) == (1024.0, 256.0)
    assert load.ttft == pytest.approx(0.110, rel=1e-3) and load.tpot == pytest.approx(0.014, rel=1e-3)
    assert load.requests == 80
    by_rate = name == "inference-perf"
    assert load.rate == 2.0 if by_rate else load.concurrency == pytest.approx(8.0, rel=0.15)
    if "lines" not in name and "requests" not in name:
        assert load.throughput == 512.0
    else:
        assert load.throughput == pytest.approx(80 * 256 / (39.5 + 3.68), rel=0.01)


def test_details_of_each() -> None:
    assert readers.runs_of([results.vllm()], "x")[0].date == "2026-11-01"
    open_loop = readers.runs_of([results.vllm(max_concurrency=None, request_rate=2.0)], "x")[0]
    assert open_loop.rate == 2.0 and math.isnan(open_loop.concurrency)
    burst = readers.runs_of([results.vllm(max_concurrency=None)], "x")[0]
    assert burst.together == 80 and math.isnan(burst.rate)
    power = readers.runs_of([results.aiperf()], "x")[0]
    assert power.measured["energy"] == pytest.approx(1.0)
    runs = readers.runs_of([results.guidellm()], "x")
    assert [r.concurrency for r in runs[:2]] == [1.0, 8.0] and runs[2].rate == 1.5
    assert runs[3].concurrency == 24.0 and runs[3].assumed and runs[0].failed == 2
    failed = readers.runs_of([results.aiperf_record(0), results.aiperf_record(1, error={"code": 500})], "x")[0]
    assert (failed.requests, failed.failed) == (1, 1)
    warm = results.aiperf_record(9)
    warm["metadata"]["benchmark_phase"] = "warmup"
    assert readers.runs_of([results.aiperf_record(0), warm], "x")[0].requests == 1
    behind = results.inference_perf()
    behind["load_summary"]["requested_rate"] = 10.0
    assert readers.runs_of([behind], "x")[0].concurrency == pytest.approx(2.0 * 3.68)


def test_units_are_kept_to() -> None:
    seconds = results.aiperf(time_to_first_token=results.stats("s", 0.110))
    assert readers.runs_of([seconds], "x")[0].ttft == pytest.approx(0.110)
    with pytest.raises(PertokenError, match="unit of time"):
        readers.runs_of([results.aiperf(time_to_first_token=results.stats("furlongs", 0.110))], "x")


def test_measured_stands_beside_predicted(tmp_path: Path) -> None:
    path = written(tmp_path, [results.vllm()], False)
    found = run("measure", str(path), *ON, "--json")
    assert found.code == 0, found.err
    (load,) = found.json()["runs"]
    assert set(load["metrics"]) == {"ttft", "tpot", "throughput"}
    for metric in load["metrics"].values():
        low, value, high = (metric["predicted"][key] for key in ("low", "value", "high"))
        assert low <= value <= high and metric["error"] == pytest.approx(value / metric["measured"] - 1.0)
    assert load["metrics"]["tpot"]["measured"] == pytest.approx(0.014)
    prices = load["usd_per_million"]
    bill = sum(prices[kind]["measured"] * count for kind, count in (("input", 1024), ("output", 256))) / 1e6
    assert bill == pytest.approx(2.50 / 3600 / 2.0, rel=1e-6)  # dollars per second over requests per second
    text = run("measure", str(path), *ON)
    assert "TPOT" in text.out and "per million tokens" in text.out
    rows = list(csv.DictReader(io.StringIO(run("measure", str(path), *ON, "--csv").out)))
    assert {row["metric"] for row in rows} == {"ttft", "tpot", "throughput"} and all(row["predicted"] for row in rows)


def test_without_a_machine_it_is_said_not_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, [results.vllm()], False)
    found = run("measure", str(path), "--json")
    (load,) = found.json()["runs"]
    assert (
        load["metrics"]["ttft"]["predicted"] is None and "--on" in load["notes"][0] and load["usd_per_million"] is None
    )


def test_llama_bench_by_depth(tmp_path: Path) -> None:
    tests = [results.llama_bench(512, 0, 0, 0.08), results.llama_bench(512, 0, 4096, 0.10), results.llama_bench(0, 128, 0, 1.1),
             results.llama_bench(0, 128, 8192, 1.4)]  # fmt: skip
    path = written(tmp_path, tests, False)
    found = run("measure", str(path), "--on", "1xrtx-4090", "--dtype", "q4_k_m", "--as", "llama-3.1-8b", "--json")
    assert found.code == 0, found.err
    shallow, deep, short, long = (next(iter(load["metrics"].values())) for load in found.json()["runs"])
    assert deep["predicted"]["value"] > shallow["predicted"]["value"]
    assert long["predicted"]["value"] > short["predicted"]["value"]
    assert found.json()["runs"][0]["engine"] == "llamacpp"


def test_a_name_that_only_the_file_knows_is_a_note(tmp_path: Path) -> None:
    path = written(tmp_path, [results.vllm(model_id="my-own-finetune")], False)
    found = run("measure", str(path), *ON, "--json")
    assert found.code == 0, found.err
    (run_,) = found.json()["runs"]
    assert "--as MODEL" in run_["notes"][0] and run_["metrics"]["ttft"]["measured"] == pytest.approx(0.11)
    refused("measure", str(path), *ON, "--as", "my-own-finetune")


def test_a_model_that_does_not_fit_is_a_note(tmp_path: Path) -> None:
    path = written(tmp_path, [results.vllm()], False)
    found = run("measure", str(path), "--as", "llama-3.1-405b", "--on", "1xl4", "--json")
    assert found.code == 0 and "not predicted" in found.json()["runs"][0]["notes"][0]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "not json", "[1, 2]", '{"completed": 3}', '{"a": ' * 500, "null", '{"kind": "pertoken probe"}',
     '{"kind": "pertoken probe", "layout": 1}\n{"cell": "prompt"}', '{"kind": "pertoken probe", "layout": 1}\n7',
     json.dumps(results.vllm(mean_ttft_ms=-5.0)), json.dumps(results.vllm(completed=0)),
     json.dumps({"benchmarks": [{"metrics": {}}]}),
     json.dumps({"successes": {"latency": {}}}), json.dumps({"n_prompt": "x", "n_gen": None, "avg_ns": []})],
)  # fmt: skip
def test_what_is_no_result_is_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    refused("measure", str(path))


def test_binary_and_missing_files_are_sentences(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"\xff\xfe\x00")
    refused("measure", str(path))
    refused("measure", str(tmp_path))
    refused("measure", str(tmp_path / "gone.json"))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(results.vllm())), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SAME)), st.data())
def test_damage_is_refused_or_read_never_a_traceback(name: str, data: st.DataObject) -> None:
    document = json.loads(json.dumps(SAME[name][0]))
    table: Any = document
    for _ in range(4):
        keys = sorted(table) if isinstance(table, dict) else list(range(len(table)))
        key = data.draw(st.sampled_from(keys))
        inner = table[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            table[key] = data.draw(JSON)
            break
        table = inner
    try:
        loads = readers.runs_of([document], "x")
    except PertokenError:
        return
    assert all(isinstance(load, Run) and load.measured for load in loads)


def test_own_records_survive_the_round_trip() -> None:
    answers = (
        records.Answer("prompt", 1, 1, 0.0, 0.5, 0.5, 100, 1, 0),
        records.Answer("decode", 2, 2, 1.0, 1.1, 2.0, 16, 8, None, 0.1, 20.0),
    )
    probe = records.Probe(answers, {"model": "m"}, {"x": 2}, ("note",), "why", 3.0, 1.5, "how")
    again = records.from_documents([json.loads(line) for line in records.to_lines(probe).splitlines()], "x")
    assert (again.settings, again.failures, again.stopped, again.joules, again.watts) == (
        {"model": "m"},
        {"x": 2},
        "why",
        3.0,
        1.5,
    )
    assert again.answers[1] == answers[1] and again.answers[0].cached == 0
    assert again.tokens == {"input": 116, "cached": 0, "output": 9}
