"""``simulate --policy``: the examples of the docs, what is said of how they run, and what is not over HTTP."""

from __future__ import annotations

import json
import re
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from pertoken.errors import PertokenError
from pertoken.simulate.compiled import COMPILED
from pertoken.simulation import Case
from pertoken.sweeping import apart
from pertoken.web.asked import Asked
from pertoken.web.commands import OPTIONS, flags
from tests.cli.tool import run

JOB = ("simulate", "llama-3.1-8b", "--on", "1xh100-sxm", "--requests", "2000", "--rps", "30")
DOCS = Path(__file__).parents[2] / "docs" / "simulate.md"
EXAMPLES = re.findall(r"```python\n(# [a-z]+\.py.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def found(*more: str) -> dict[str, Any]:
    return json.loads(run(*JOB, *more, "--json").out)  # type: ignore[no-any-return]


def test_first_come_first_served_as_a_file_is_the_same_to_the_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("def order(arrival_s):\n    return arrival_s\n")
    plain, own = found(), found("--policy", str(path))
    assert plain["counts"]["preempted"] > 0
    assert own.pop("policy")["compiled"] == COMPILED
    assert own["scenario"].pop("policy") == str(path)
    assert json.dumps(own) == json.dumps(plain)


def test_the_examples_of_the_docs_do_what_they_say(tmp_path: Path) -> None:
    first, second = EXAMPLES
    plain = found()
    for name, text in (("shortest.py", first), ("reserve.py", second)):
        assert text.startswith(f"# {name}")
        (tmp_path / name).write_text(text)
    short, reserve = (found("--policy", str(tmp_path / name)) for name in ("shortest.py", "reserve.py"))
    assert short["ttft_s"]["mean"] < 0.9 * plain["ttft_s"]["mean"]
    assert short["ttft_s"] != plain["ttft_s"]
    assert reserve["counts"]["preempted"] < plain["counts"]["preempted"]


def test_what_cannot_be_compiled_runs_step_by_step_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("def order(arrival_s):\n    return float(f'{arrival_s:.17g}')\n")
    text = run(*JOB, "--policy", str(path))
    said = f"policy {path} (order) runs step by step: numba"
    assert said in text.out
    assert said in text.err
    slow, plain = found("--policy", str(path)), found()
    assert not slow["policy"]["compiled"]
    assert slow["ttft_s"] == plain["ttft_s"]
    assert slow["bill"]["usd"] == pytest.approx(plain["bill"]["usd"], rel=1e-12)


@pytest.mark.parametrize("text", ["def order(:", "def order(input): return None", "def admit(): return False", "x = 1"])
def test_a_bad_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(PertokenError, match=r"own\.py"):
        Case.of({"model": "llama-3.1-8b", "on": "1xh100-sxm", "requests": 50, "policy": str(path)}).run()


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PertokenError, match="is not a file"):
        Case.of({"model": "llama-3.1-8b", "on": "1xh100-sxm", "policy": str(tmp_path / "none.py")})


def test_policies_are_swept_and_kept_by_what_they_hold(tmp_path: Path) -> None:
    from pertoken.sweeping.cells import Cell

    paths = [tmp_path / "a.py", tmp_path / "b.py"]
    paths[0].write_text("def order(arrival_s): return arrival_s\n")
    paths[1].write_text("def order(input): return input\n")
    rows = json.loads(run(*JOB, *(f"--policy={path}" for path in paths), "--workers", "1", "--json").out)
    assert "runs" in json.dumps(rows)
    before = Cell({"policy": str(paths[0])}, False).name
    paths[0].write_text("def order(arrival_s): return -1.0 * arrival_s\n")
    assert Cell({"policy": str(paths[0])}, False).name != before


def test_policies_are_not_over_http(tmp_path: Path) -> None:
    assert not any("policy" in names for names in OPTIONS.values())
    with pytest.raises(PertokenError, match="'policy' is no option here"):
        flags("simulate", {"policy": "own.py"})
    with pytest.raises(PertokenError, match="policy"):
        _ = Asked({"knobs": {"model": "llama-3.1-8b", "policy": "own.py"}}).cases
    from pertoken.catalog.files import closed
    from pertoken.catalog.policies import load_policy

    with closed(tmp_path), pytest.raises(PertokenError, match="the page runs none"):
        load_policy("own.py")


ORDER = "def order(arrival_s, input): return arrival_s + input / 1000\n"
HOSTILE = {
    "compiled, endless for some": (
        "def order(arrival_s):\n    x = arrival_s\n    while arrival_s > 5.0 and x > -1.0:\n        x = x + 0.5\n    return x",
        "without a sign of life",
    ),
    "endless when read": ("while True: pass", "without a sign of life"),
    "ends the process": ("import os\nos._exit(3)", "ended its process"),
    "sleeps": (
        "import time\ndef order(arrival_s):\n    if arrival_s > 5: time.sleep(1000)\n    return arrival_s",
        "without a sign of life",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "stream"), [*((kind, ()) for kind in HOSTILE), ("sleeps", ("--stream",))])
def test_what_does_not_end_is_ended_with_a_sentence(
    kind: str, stream: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "PATIENCE", 2.5)
    path, source = tmp_path / "own.py", HOSTILE[kind]
    path.write_text(source[0])
    found = run(*JOB, *stream, "--policy", str(path), "-o", str(tmp_path / "x.csv"))
    assert found.code == 2
    assert f"policy {path}" in found.err
    assert source[1] in found.err
    assert [p.name for p in tmp_path.iterdir()] == ["own.py"]
    assert not active_children()


def test_a_stream_of_a_policy_is_the_file_of_a_run_that_holds_all(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(ORDER)
    paths = [tmp_path / "held.csv", tmp_path / "streamed.csv"]
    for path, more in zip(paths, ((), ("--stream",)), strict=True):
        assert run(*JOB, "--policy", str(own), *more, "-o", str(path)).code == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


def test_what_a_policy_prints_is_not_in_the_result(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("print('hello')\n" + ORDER)
    assert found("--policy", str(path))["requests"]["answered"] == 2000


@pytest.mark.parametrize(
    "more",
    [
        ("--replicas", "2:2"), ("--turns", "3", "--reuse-prefixes"), ("--turns", "3", "--replicas", "2:1", "--reuse-prefixes"),
        ("--speculative", "2"), ("--stream",), ("--max-rate",), ("--concurrency", "300", "--replicas", "1:1"),
    ],
)  # fmt: skip
def test_policies_go_with_all_else(more: tuple[str, ...], tmp_path: Path) -> None:
    first = tmp_path / "first.py"
    first.write_text("def order(arrival_s): return arrival_s\n")
    short = tmp_path / "short.py"
    short.write_text("def order(input): return input\n")
    load = () if "--max-rate" in more or "--concurrency" in more else ("--rps", "60")
    job = (*JOB[:4], "--requests", "600", *load, *more, "--json")
    plain, own, other = (
        json.loads(run(*job, *given).out) for given in ((), ("--policy", str(first)), ("--policy", str(short)))
    )
    for name in ("requests", "seconds", "tokens", "ttft_s", "tpot_s", "e2e_s"):
        assert own[name] == plain[name]
    assert other["requests"]["answered"] == own["requests"]["answered"]
    assert other["ttft_s"] != own["ttft_s"], "negative control: another order is another run"
    assert abs(other["bill"]["residual"]) <= 1e-9 * other["bill"]["usd"]
