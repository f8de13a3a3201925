"""A sweep: what is kept, what counts as the same case, and what becomes of one that is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pertoken
from pertoken.sweeping.cells import INTERRUPTED, Cell, run_cells
from tests.cli.tool import run

JOB = ("simulate", "llama-3.1-8b", "--on", "1xh100-sxm", "--requests", "200", "--workers", "1")


def cell(**given: object) -> Cell:
    return Cell({"model": "llama-3.1-8b", "on": "1xh100-sxm", "requests": "200", "load": "0.5", **given})


def test_a_case_is_known_by_all_that_was_given(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("arrival_s,input,output\n0,10,5\n")
    cells = [
        cell(), cell(seed="1"), cell(route="least-loaded"), cell(replicas="2"), cell(replicas="1:1"), cell(burst="2"),
        cell(block="32"), cell(priorities="2"), Cell(cell().given, search=True), cell(trace=str(trace)),
    ]  # fmt: skip
    assert len({c.name for c in cells}) == len(cells)
    assert cell().name == cell().name
    before = cells[-1].name
    trace.write_text("arrival_s,input,output\n0,10,6\n")
    assert cells[-1].name != before


def test_finished_cells_are_not_run_again(tmp_path: Path) -> None:
    first, ended = run_cells([cell(seed="1")], tmp_path, 1)
    assert not ended and first[0]["error"] is None
    (kept,) = tmp_path.glob("*.json")
    row = json.loads(kept.read_text())
    kept.write_text(json.dumps(row | {"answered": -1}))
    told: list[tuple[int, int]] = []
    both, _ = run_cells([cell(seed="1"), cell(seed="2")], tmp_path, 1, lambda done, left: told.append((done, left)))
    assert both[0]["answered"] == -1 and both[1]["answered"] == 200
    assert told == [(0, 1), (1, 0)]
    kept.write_text("{")
    assert run_cells([cell(seed="1")], tmp_path, 1)[0] == first


def test_cases_that_differ_by_seed_are_one_line(tmp_path: Path) -> None:
    given = (*JOB, "--load", "0.5", "--load", "0.9", *(f"--seed={k}" for k in range(3)), "--keep", str(tmp_path))
    shown = run(*given).out
    assert "means over 3 seeds" in shown
    assert len([line for line in shown.splitlines() if line[:3] in ("0.5", "0.9")]) == 2
    found = json.loads(run(*given, "--json").out)
    assert len(found["cases"]) == 6 and not found["partial"]
    rows = found["over_seeds"]["rows"]
    assert [row["seeds"] for row in rows] == [3, 3]
    mean = sum(case["ttft_mean_s"] for case in found["cases"][:3]) / 3
    assert abs(rows[0]["ttft_mean_s"] - mean) < 1e-12


def test_what_is_given_again_adds_nothing() -> None:
    """The same run twice is no second sample: an interval of it would be of width 0."""
    shown = run(*JOB, "--load", "0.5", "--seed", "0", "--seed", "00", "--load", "0.50").out
    assert "±" not in shown
    assert len(json.loads(run(*JOB, "--load", "0.5", "--load", "0.5", "--json").out)["cases"]) == 1


def test_highest_rates_of_several_machines() -> None:
    found = json.loads(run(*JOB, "--on", "1xh200-sxm", "--max-rate", "--ttft", "1s", "--json").out)["cases"]
    assert found[1]["max_rate_per_s"] > found[0]["max_rate_per_s"] > 0


def test_an_interrupt_leaves_what_is_done_and_no_process(tmp_path: Path) -> None:
    """One case ends at once, the other runs for minutes; the signal goes to all processes, as a terminal's does."""
    trace = tmp_path / "long.csv"
    trace.write_text("arrival_s,input,output\n" + "0,4000,4000\n" * 100_000)
    short = tmp_path / "short.csv"
    short.write_text("arrival_s,input,output\n0,10,5\n")
    keep = tmp_path / "kept"
    job = [
        "simulate", "llama-3.1-8b", "--on", "1xh100-sxm", "--trace", str(short), "--trace", str(trace), "--keep", str(keep),
        "--workers", "2", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(pertoken.__file__).parents[1])}
    child = subprocess.Popen(
        [sys.executable, "-c", "from pertoken.cli.main import run; run()", *job], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment,
    )  # fmt: skip
    for _ in range(300):
        if any(keep.glob("[!.]*.json")):
            break
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=30)
    found = json.loads(out)
    assert child.returncode == 130 and found["partial"]
    assert [row["error"] for row in found["cases"]] == [None, INTERRUPTED]
    assert "Traceback" not in err and "interrupted" in err
    for _ in range(100):
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a process was left")
