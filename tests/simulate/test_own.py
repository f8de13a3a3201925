"""Policies of users: the same schedule as the step-by-step reference, compiled or not, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.errors import PertokenError
from pertoken.simulate.cluster import Cluster
from pertoken.simulate.compiled import COMPILED
from pertoken.simulate.own import read_policy
from pertoken.simulate.run import simulate
from pertoken.simulate.state import PREEMPTED
from pertoken.simulate.traffic import Traffic
from tests.simulate.test_engine import both, deployment, same, traffic

PLAIN = "\ndef written(x):\n    return float(f'{x:.17g}')\n"  # which numba cannot compile
KINDS = {
    "first come": "def order(arrival_s): return arrival_s",
    "shortest": "def order(input, emitted): return input + emitted",
    "longest answer last": "def order(output, level, preempted): return level * 1000 - 100 * preempted + output",
    "last come": "def order(arrival_s): return -arrival_s",
    "reserve": "def admit(free_blocks, needed_blocks, running): return running == 0 or free_blocks >= 2 * needed_blocks",
    "drain": "def admit(running): return running < 3",
    "short first": "def victim(input, output, emitted): return output - emitted - input / 1000",
    "all": "def order(input): return input % 7\ndef victim(arrival_s): return -arrival_s\n"
    "def admit(free_blocks, needed_blocks, running): return running < 2 or free_blocks > needed_blocks + running",
}  # fmt: skip


OWN = {kind: read_policy(source, "own.py") for kind, source in KINDS.items()}


def slowly(source: str) -> str:
    """The same policy in a form that numba cannot compile."""
    return (
        "\n".join(
            line.replace("return ", "return written(") + ")" if "return " in line else line
            for line in source.split("\n")
        )
        + PLAIN
    )


@settings(max_examples=300)
@given(
    st.integers(0, 10**6), st.sampled_from(sorted(KINDS)), st.sampled_from([0.0, 0.0005, 0.003, 0.05]), st.integers(30, 90),
    st.sampled_from([1, 3]), st.sampled_from([1, 4, 16]), st.integers(1, 40), st.sampled_from([40, 64, 700]),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_random_runs_agree(seed, kind, gap, blocks, levels, block, slots, budget, mixed, chunked) -> None:
    own = OWN[kind]
    assert not own.why or not COMPILED
    d = deployment(token_budget=budget, max_sequences=slots, mixed=mixed, chunked=chunked, graph_sequences=6)
    cluster = Cluster(priorities=levels, block=block, policy=own)
    run, found = both(d, traffic(seed, 60, gap, levels=levels), blocks * 16 // block, cluster)
    same(run, found)


@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_is_the_same(kind: str) -> None:
    d = deployment(token_budget=128, max_sequences=16)
    runs = []
    for source in (KINDS[kind], slowly(KINDS[kind])):
        own = read_policy(source, "own.py")
        run, found = both(d, traffic(3, 120, 0.001), 30, Cluster(policy=own))
        same(run, found)
        runs.append(run)
    fast, slow = runs
    assert not slow.compiled
    assert "runs step by step: numba" in own.said
    assert fast.lanes.z[0][PREEMPTED] > 0 or "admit" in KINDS[kind]
    assert np.array_equal(np.asarray(fast.requests.n), np.asarray(slow.requests.n))
    assert np.allclose(np.asarray(fast.requests.f), np.asarray(slow.requests.f), rtol=1e-12)
    if kind not in ("first come",):  # negative control: the policy does something
        plain, _ = both(d, traffic(3, 120, 0.001), 30, Cluster())
        assert not np.array_equal(np.asarray(plain.requests.n), np.asarray(fast.requests.n))


@pytest.mark.parametrize("levels", [1, 3])
def test_first_come_first_served_as_a_file_is_the_builtin(levels: int) -> None:
    t, d = traffic(5, 400, 0.001, levels=levels), deployment(token_budget=128, max_sequences=16)
    source = "".join(f"def {name}(arrival_s, level): return 1e6 * level + arrival_s\n" for name in ("order", "victim"))
    own = read_policy(source, "own.py")
    runs = [both(d, t, 30, Cluster(priorities=levels, policy=policy))[0] for policy in (None, own)]
    assert runs[0].lanes.z[0][PREEMPTED] > 0
    assert np.array_equal(runs[0].requests.n[:, [2, *range(12, 21)]], runs[1].requests.n[:, [2, *range(12, 21)]])
    assert np.array_equal(runs[0].requests.f[:, 6:], runs[1].requests.f[:, 6:])


def test_replicas_and_closed_loops_take_policies() -> None:
    d = deployment(token_budget=128, max_sequences=4)
    t = traffic(3, 200, 0.001)
    order = read_policy("def order(output): return output", "own.py")
    plain, short = (simulate(d, t, Cluster(3, "least-loaded", policy=p)) for p in (None, order))
    assert short.done.all()
    assert short.ttft.mean() < 0.9 * plain.ttft.mean()


def batch(count: int) -> Traffic:
    return Traffic(np.arange(count) * 1.0, np.full(count, 20), np.full(count, 3), "even")


def test_waiting_for_company_is_no_deadlock() -> None:
    """Nothing runs, and the policy waits for four: they begin when the fourth comes."""
    own = read_policy("def admit(running, waiting): return running > 0 or waiting >= 4", "own.py")
    found = simulate(deployment(), batch(8), Cluster(policy=own))
    assert found.done.all()
    assert found.first[0] > 3.0 > found.first[0] - 0.5
    with pytest.raises(PertokenError, match="admits none of 1 that wait, with nothing running"):
        simulate(deployment(), batch(5), Cluster(policy=own))
    with pytest.raises(PertokenError, match="admits none of 3 that wait"):  # 2 on one replica, 1 on another
        simulate(deployment(), batch(3), Cluster(2, policy=own))


BAD = [
    ("def order(:", "cannot be run: SyntaxError.*line 1"),
    ("import nothing_such", "cannot be run: ModuleNotFoundError"),
    ("raise SystemExit(3)", "cannot be run: SystemExit: 3"),
    ("1 / 0", "cannot be run: ZeroDivisionError"),
    ("\0", "cannot be run"),
    ("(" * 5000, "cannot be run"),
    ("x = 1", "no function that is asked; define order, admit or victim"),
    ("order = 3", "order of policy own.py is a int; make it a plain function"),
    ("class order: pass", "is a type"),
    ("def order(price): return 1", "takes 'price'; use some of arrival_s, input"),
    ("def order(*input): return 1", r"takes '\*input'"),
    ("def order(input): return None", "gave None; it must return a number"),
    ("def order(input): return 'a'", "gave 'a'"),
    ("def order(input): yield 1", "gave <generator"),
    ("def order(input): return 1j", "gave 1j"),
    ("def order(input): return 0.0 * 1e999", "gave nan"),
    ("def order(input): return 1 / (input - input)", "raised ZeroDivisionError"),
    ("def order(input): raise SystemExit", "raised SystemExit"),
    ("def order(input): return order(input)", "raised RecursionError"),
    ("def order(input):\n    while True: pass", "does not end"),
    ("def order(emitted, arrival_s): return 1.0 / (arrival_s < 3)", r"order\(emitted=0, arrival_s=3.*raised ZeroDivisionError"),
    ("def admit(running): return float('nan') if running else True", "gave nan"),
    ("def admit(): return False", "admits none of 8 that wait, with nothing running"),
    ("def admit(): return 0", "admits none of 8"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "said"), BAD)
def test_what_is_wrong_is_said(source: str, said: str) -> None:
    t = batch(8)
    if "if running" in source:
        t = replace(t, arrival=t.arrival * 1e-4)
    with pytest.raises(PertokenError, match=f"(?s){said}"):
        simulate(deployment(), t, Cluster(policy=read_policy(source, "own.py")))


def test_a_helper_of_the_file_is_compiled_too() -> None:
    source = "import math\nSCALE = 2.0\ndef h(x): return SCALE * math.sqrt(x)\ndef order(input): return h(input)"
    own = read_policy(source, "own.py")
    assert own.functions["order"](0, 9, 0, 0, 0, 0) == 6.0
    assert not own.why or not COMPILED
