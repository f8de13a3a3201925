"""``simulate --stream``: the same file as without, whole or not at all, and marked where the run was ended early."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from pertoken.cli.progress import Progress
from pertoken.simulate import run as running
from pertoken.simulate import stream as streaming
from tests.cli.tool import run

JOB = ("simulate", "llama-3.1-8b", "--on", "1xh100-sxm", "--requests", "1500", "--load", "0.5")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLICE", "SMALL"):
        monkeypatch.setattr(running, name, 200)
    monkeypatch.setattr(streaming.Stream.__init__, "__defaults__", (300,))
    monkeypatch.setattr(streaming.stream, "__defaults__", (None, None, None, 300))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_file_is_that_of_a_run_that_holds_all(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in ("held", "streamed", "other")]
    held = json.loads(run(*JOB, "--json", "-o", str(paths[0])).out)
    streamed = json.loads(run(*JOB, "--stream", "--json", "-o", str(paths[1])).out)
    run(*JOB, "--stream", "--seed", "1", "-o", str(paths[2]))
    if suffix == ".parquet":
        tables = [parquet.read_table(path) for path in paths]
        assert tables[0].equals(tables[1])
        assert not tables[0].equals(tables[2]), "negative control"
        assert parquet.read_metadata(paths[1]).metadata[b"partial"] == b"false"
        assert parquet.read_metadata(paths[1]).num_row_groups > 3
    else:
        whole = [path.read_bytes() for path in paths]
        assert whole[0] == whole[1]
        assert whole[0] != whole[2], "negative control"
    assert streamed.pop("percentile_error") == 0.002
    for name in (
        "requests",
        "rate",
        "seconds",
        "counts",
        "tokens",
        "timeline",
        "traffic",
        "assumed",
        "scenario",
        "utilisation",
    ):
        assert streamed[name] == held[name]
    assert streamed["bill"]["usd"] == held["bill"]["usd"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)


def test_a_trace_is_streamed_too(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,input,output\n" + "".join(f"{k / 9},{100 + k % 50},{1 + k % 90}\n" for k in range(900)))
    job = ("simulate", "llama-3.1-8b", "--on", "1xh100-sxm", "--trace", str(trace))
    paths = [tmp_path / name for name in ("held.csv", "streamed.csv")]
    run(*job, "-o", str(paths[0]))
    found = run(*job, "--stream", "-o", str(paths[1]))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "percentiles to 0.2%, all else exact" in found.out


def test_ctrl_c_leaves_a_whole_file_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "requests.parquet", []

    def press(self: Progress, share: float) -> None:
        seen.append(share)
        if len(seen) == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "__call__", press)
    before = signal.getsignal(signal.SIGINT)
    found = run(*JOB, "--stream", "--json", "-o", str(path))
    assert signal.getsignal(signal.SIGINT) is before
    assert found.code == 130
    said, table = json.loads(found.out), parquet.read_table(path)
    assert said["partial"]
    assert parquet.read_metadata(path).metadata[b"partial"] == b"true"
    assert table.num_rows == said["requests"]["sent"] < 1500
    assert said["requests"]["answered"] == int(np.isfinite(table["finish_s"].to_pylist()).sum()) > 0
    paid = sum(table["usd"].to_pylist()) + said["bill"]["idle_usd"]
    assert paid == pytest.approx(said["bill"]["usd"], rel=1e-9)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_nothing_is_left_where_a_run_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, columns: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pertoken.report.simulation_stream.Requests._group", full)
    found = run(*JOB, "--stream", "-o", str(tmp_path / "requests.parquet"))
    assert found.code == 2
    assert "No space left on device" in found.err
    assert "Traceback" not in found.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--turns", "3"), "--turns makes some"), (("--replicas", "2:1"), "--stream has one pool"),
        (("--max-rate",), "--stream is of one run"),
        (("--seed", "1", "--seed", "2"), "--stream is of one run"), (("--keep", "x"), "--stream is of one run"),
        (("--reuse-prefixes",), "--reuse-prefixes keeps them"),
    ],
)  # fmt: skip
def test_what_cannot_be_streamed_is_refused(given: tuple[str, ...], says: str, tmp_path: Path) -> None:
    found = run(*JOB, "--stream", "-o", str(tmp_path / "x.csv"), *given)
    assert found.code == 2
    assert says in found.err
    assert not list(tmp_path.iterdir())


def test_a_closed_loop_is_refused() -> None:
    found = run("simulate", "llama-3.1-8b", "--on", "1xh100-sxm", "--stream", "--concurrency", "4")
    assert found.code == 2
    assert "--concurrency makes some" in found.err
