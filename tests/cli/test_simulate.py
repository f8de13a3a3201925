"""The command ``simulate``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pertoken.catalog.arrivals import load_traffic
from pertoken.errors import PertokenError
from tests.cli.tool import run

JOB = ("simulate", "llama-3.1-8b", "--on", "1xh100-sxm", "--requests", "300")


def test_json_adds_up_and_is_the_same_each_time() -> None:
    first, second = (run(*JOB, "--load", "0.5", "--json") for _ in range(2))
    assert first.out == second.out
    found = json.loads(first.out)
    bill = found["bill"]
    parts = sum(bill[f"{name}_usd"] for name in ("input", "cached", "output", "idle"))
    assert parts == pytest.approx(bill["usd"], rel=1e-9)
    assert found["requests"] == {"sent": 300, "answered": 300, "refused": 0}
    assert not found["partial"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".json", ".html", ".md", ".svg"])
def test_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    run(*JOB, "--concurrency", "8", "-o", str(path))
    assert path.stat().st_size > 200
    if suffix == ".csv":
        with path.open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 300
        assert all(float(r["finish_s"]) >= float(r["first_token_s"]) > float(r["arrival_s"]) for r in rows)


def test_records_hold_the_same_in_each_form(tmp_path: Path) -> None:
    from pyarrow import parquet

    paths = [tmp_path / f"run{suffix}" for suffix in (".csv", ".jsonl", ".parquet")]
    for path in paths:
        bill = json.loads(run(*JOB, "--load", "0.5", "--json", "-o", str(path)).out)["bill"]
    with paths[0].open() as file:
        plain = [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]
    lines = [json.loads(line) for line in paths[1].read_text().splitlines()]
    assert plain == lines == parquet.read_table(paths[2]).to_pylist()
    wanted = {"arrival_s", "first_token_s", "finish_s", "input", "cached", "output", "usd", "joules"}
    assert wanted <= set(lines[0])
    assert sum(line["usd"] for line in lines) + bill["idle_usd"] == pytest.approx(bill["usd"], rel=1e-9)
    assert all(line["joules"] > 0 for line in lines)


def test_a_scenario_gives_the_run_again(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    options = ("--replicas", "2:1", "--burst", "2", "--seed", "7", "--rps", "20", "--block", "32", "--ttft", "1s")
    first = run(*JOB, *options, "--json", "-o", str(path))
    again = run("simulate", "--scenario", str(path), "--json")
    assert again.out == first.out
    path.write_text('model = "llama-3.1-8b"\nreuse_prefixes = true\nturns = 2\nrequests = 100\n')
    assert json.loads(run("simulate", "--scenario", str(path), "--json").out)["tokens"]["cached"] > 0


def test_pools_add_up(tmp_path: Path) -> None:
    given = (*JOB, "--replicas", "2:1", "--rps", "30", "--rate", "power:0.12")
    found = json.loads(run(*given, "--json", "-o", str(tmp_path / "x.svg")).out)
    pools = found["pools"]
    assert pools["prefill"]["usd"] + pools["decode"]["usd"] == pytest.approx(found["bill"]["usd"], rel=1e-9)
    assert abs(found["bill"]["residual"]) <= 1e-9 * found["bill"]["usd"]
    assert found["requests"]["answered"] == 300
    assert pools["moved_bytes"] > 0 and pools["transfer_s"] > 0
    slow = json.loads(run(*given, "--network", "2GB/s", "--json").out)
    assert slow["pools"]["transfer_s"] == pytest.approx(25 * pools["transfer_s"])
    assert slow["e2e_s"]["mean"] > found["e2e_s"]["mean"]


def test_a_decode_pool_that_is_overrun_holds_the_other_up() -> None:
    job = (*JOB, "--rps", "200", "--input", "8000", "--output", "1000", "--network", "1000GB/s", "--json")
    few, many = (json.loads(run(*job, "--replicas", replicas).out) for replicas in ("4:1", "4:8"))
    assert few["pools"]["stalled"] > 0.05 > many["pools"]["stalled"] == 0
    assert few["pools"]["waited_s"] > 100 * many["pools"]["waited_s"]
    assert few["ttft_s"]["mean"] > 1.15 * many["ttft_s"]["mean"]
    assert "held up" in run(*JOB, "--rps", "2", "--replicas", "1:1").out


@pytest.mark.parametrize("given", [("--concurrency", "20"), ("--turns", "3", "--rps", "5", "--reuse-prefixes")])
def test_two_pools_take_requests_that_follow_answers(given: tuple[str, ...]) -> None:
    found = json.loads(run(*JOB, "--replicas", "2:1", *given, "--json").out)
    assert found["requests"]["answered"] == 300
    assert (found["tokens"]["cached"] > 0) == ("--turns" in given)
    assert abs(found["bill"]["residual"]) <= 1e-9 * found["bill"]["usd"]


@pytest.mark.parametrize("replicas", ["2", "1:1"])
def test_highest_rate_with_its_price(replicas: str) -> None:
    job = ("simulate", "llama-3.1-8b", "--on", "1xh100-sxm", "--requests", "1500", "--replicas", replicas)
    goals = ("--ttft", "500ms", "--tpot", "30ms")
    found = json.loads(run(*job, *goals, "--max-rate", "--json").out)
    rate = found["max_rate"]["rate"]
    assert 0 <= found["max_rate"]["within"] < 0.01
    assert found["per_million"]["output"] > 0

    def good(at: float) -> float:
        one = json.loads(run(*job, *goals, "--rps", repr(at), "--json").out)
        return float(one["rate"]["goodput_per_s"] * one["seconds"] / 1500)

    assert good(rate) >= 0.99
    assert good(rate * (1 + found["max_rate"]["within"])) < 0.99, "negative control"


def test_cases_are_kept_and_one_that_fails_is_told(tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    given = (*JOB, "--load", "0.3", "--on", "1xt4", "--keep", str(keep), "--workers", "1", "--json")
    found = run(*given)
    rows = json.loads(found.out)["cases"]
    assert [bool(row["error"]) for row in rows] == [False, True]
    assert "case 2" in found.err
    assert found.code == 1
    assert len(list(keep.glob("*.json"))) == 1
    assert json.loads(run(*given).out)["cases"] == rows


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--route", "best"), "--route is 'best'"), (("--reuse-prefixes",), "--reuse-prefixes needs"),
        (("--requests", "0"), "--requests is 0"), (("--burst", "-1"), "--burst is -1"), (("--profile", "1,2"), "24 hourly"),
        (("--trace", "/nowhere.csv"), "is no file"), (("--replicas", "0"), "--replicas is 0"),
        (("--replicas", "0:0"), "two such as 4:2"), (("--replicas", "4:"), "two such as 4:2"),
        (("--replicas", "9" * 50), "two such as 4:2"), (("--replicas", "2:1", "--crowd", "3"), "--crowd"),
        (("--replicas", "2:1", "--reuse-prefixes"), "--reuse-prefixes needs"), (("--seed", "x"), "--seed is 'x'"),
        (("--seed", "1.5"), "--seed is 1.5"), (("--max-rate", "--rps", "4"), "--rps sets one; leave"),
        (("--rps", "1", "--rps", "2", "--seed", "-1"), "--seed is -1"),
        (("--seed", "1", "--seed", "2", "-o", "x.svg"), "against"),
        (("--rps", "1", "--rps", "2", "-o", "x.parquet"), "no known form"), (("--rps", "1", "--keep", "/dev/null/x"), "--keep"),
        (("--rps", "1", "--keep", "~no-such-user/x"), "--keep"),
        (tuple(f"--seed={k}" for k in range(20_000)), "at most 10,000"),
        (("--rps", "1", "--load", "0.5"), "together"),
        (("-o", "x.exe"), "no known form"), (("--cached", "0.5"), "--cached has no meaning"),
        (("--route", "prefix-aware"), "add --reuse-prefixes"), (("--max-rate", "--concurrency", "4"), "leave one out"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(given: tuple[str, ...], says: str) -> None:
    found = run(*JOB, *given)
    assert found.code == 2
    assert says in found.err
    assert "Traceback" not in found.err


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "arrival_s,input,output\n1,2,0\n", "line 2: output is '0'"),
        ("b.csv", "arrival_s,input,output\n1,x,3\n", "line 2: input is 'x'"),
        ("c.csv", "arrival_s,input,output\nnan,4,3\n", "finite number of seconds"),
        ("d.csv", "input,output\n4,3\n", "no arrival column"), ("e.csv", "", "no requests"),
        ("f.jsonl", '{"timestamp": 0\n', "line 1 is no JSON"), ("g.jsonl", "[1]\n", "no JSON object"),
        ("h.parquet", "no", "no Parquet file"), ("i.txt", "1", "no known form"),
        ("j.csv", "arrival_s,input,output\n1\n", "input is 'None'"),
    ],
)  # fmt: skip
def test_corrupt_traces(tmp_path: Path, name: str, content: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(PertokenError, match=says):
        load_traffic(str(path))


def test_traces_are_sorted_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"timestamp": 2000, "input_length": 1100, "output_length": 3, "hash_ids": [7, 8, 9]}\n'
        '{"timestamp": 1000, "input_length": 600, "output_length": 2, "hash_ids": [7, 5]}\n'
    )
    found = load_traffic(str(path))
    assert found.arrival.tolist() == [0.0, 1.0]
    assert found.input.tolist() == [600, 1100]
    assert found.chain_at.tolist() == [0, 1, 3]
    assert found.chain[0] == found.chain[1]
    assert load_traffic("azure-2023-code").size == 8819


def test_numba_is_not_imported_by_price() -> None:
    import subprocess
    import sys

    code = (
        "import sys, pertoken; pertoken.price('llama-3.1-8b', on='1xh100-sxm'); import pertoken.cli.main;"
        " assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
