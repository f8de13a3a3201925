"""Lengths: moments against loops over requests, and texts that stand for distributions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.errors import PertokenError
from pertoken.serving.columns import Columns, pick
from pertoken.serving.lengths import Lengths, Moments
from pertoken.serving.trace import lengths_from_rows, lengths_from_text, parse_distribution
from pertoken.serving.workload import Goals, Workload

REQUESTS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=8)


def lengths(requests: list[tuple[int, int]]) -> Lengths:
    return Lengths(*(np.array([r[i] for r in requests], dtype=float) for i in (0, 1)))


@settings(max_examples=150, deadline=None)
@given(REQUESTS)
def test_moments_equal_loops_over_requests(requests: list[tuple[int, int]]) -> None:
    found = lengths(requests).moments()
    n = len(requests)
    contexts = [i + step for i, o in requests for step in range(o - 1)]
    pairs = sum(i * (i + 1) / 2 for i, _ in requests)
    tokens = sum(i for i, _ in requests)
    assert found.input == pytest.approx(tokens / n)
    assert found.output == pytest.approx(sum(o for _, o in requests) / n)
    assert found.fresh_squared == pytest.approx(sum(i * i for i, _ in requests) / n)
    if contexts:
        assert found.context == pytest.approx(sum(contexts) / len(contexts))
    mean = found.fresh  # a mean prompt after `prior` positions attends as many pairs a token as all prompts do
    assert found.prior + (mean + 1) / 2 == pytest.approx(pairs / tokens)


@settings(max_examples=150, deadline=None)
@given(REQUESTS, st.floats(0, 1))
def test_cached_and_fresh_tokens_make_up_the_input(requests: list[tuple[int, int]], share: float) -> None:
    made = lengths(requests)
    found = made.moments(share)
    assert found.cached + found.fresh == pytest.approx(found.input)
    assert found.fresh >= 1.0 - 1e-12
    cached = [min(i * share, i - 1) for i, _ in requests]
    assert found.cached == pytest.approx(sum(cached) / len(cached), abs=1e-9)
    fresh = [i - c for (i, _), c in zip(requests, cached, strict=True)]
    pairs = sum(f * c + f * (f + 1) / 2 for f, c in zip(fresh, cached, strict=True))
    assert found.prior + (found.fresh + 1) / 2 == pytest.approx(pairs / sum(fresh))


@settings(max_examples=100, deadline=None)
@given(REQUESTS, st.integers(2, 9))
def test_groups_of_context_keep_the_mean_and_rise(requests: list[tuple[int, int]], groups: int) -> None:
    made = lengths(requests)
    one, many = made.moments(0.0, 1), made.moments(0.0, groups)
    if any(o > 1 for _, o in requests):
        assert len(many.contexts) == groups
    assert many.context == pytest.approx(one.context, rel=1e-9)
    assert all(b >= a - 1e-9 for a, b in pairwise(many.contexts))
    assert max(many.contexts) <= max(i + o for i, o in requests)


def test_fixed_moments_equal_those_of_one_request() -> None:
    for cached in (0.0, 0.4, 1.0):
        a, b = Lengths.fixed(700, 90).moments(cached), Moments.fixed(700.0, 90.0, cached)
        for field in ("input", "output", "fresh", "fresh_squared", "prior", "cached", "decoded", "context"):
            assert getattr(a, field) == pytest.approx(getattr(b, field)), field


def test_texts_stand_for_distributions() -> None:
    assert parse_distribution("8192", "--input").tolist() == [8192.0]
    uniform = parse_distribution("uniform:800-1024", "--input")
    assert uniform.mean() == pytest.approx(912.0)
    assert uniform.min() >= 800
    assert uniform.max() <= 1024
    log_normal = parse_distribution("p50=1020,p90=2734", "--input")
    assert np.quantile(log_normal, 0.5) == pytest.approx(1020, rel=0.05)
    assert np.quantile(log_normal, 0.9) == pytest.approx(2734, rel=0.1)


def test_two_distributions_are_independent() -> None:
    made = lengths_from_text("uniform:1-100", "uniform:1-50")
    assert np.corrcoef(made.input, made.output)[0, 1] == pytest.approx(0.0, abs=1e-9)
    assert "independent" in made.origin


BAD = [
    "", "0", "-5", "nan", "inf", "1e12", "abc", "uniform:", "uniform:5", "uniform:9-3", "uniform:0-3", "uniform:1-2-3", "p50=10",
    "p50=10,p50=20", "p50=20,p90=10", "p0=1,p50=2", "p50=x,p90=2", "p50=,p90=3", "p120=3,p50=2", "p50=1,p90=0", "1,2,3 tokens",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_bad_texts_get_a_sentence(text: str) -> None:
    with pytest.raises(PertokenError, match="--input"):
        parse_distribution(text, "--input")


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=30), st.from_regex(r"(uniform:|p[0-9.]{1,4}=)[0-9k.,p=-]{1,12}", fullmatch=True)))
def test_any_text_is_lengths_or_a_sentence(text: str) -> None:
    try:
        found = parse_distribution(text, "--input")
    except PertokenError:
        return
    assert np.all((found >= 1) & (found <= 1e9))


def test_traces_name_the_line_at_fault() -> None:
    made = lengths_from_rows([(2, "100", "7"), (3, "50", "1")], "t.csv")
    assert made.input.tolist() == [100.0, 50.0]
    for cell in ("0", "-1", "x", "nan", "inf", "1e10", ""):
        with pytest.raises(PertokenError, match="line 3"):
            lengths_from_rows([(2, "100", "7"), (3, "50", cell)], "t.csv")
    with pytest.raises(PertokenError, match="no requests"):
        lengths_from_rows([], "t.csv")


def test_columns_are_found_by_their_spellings() -> None:
    assert pick(["TIMESTAMP", "ContextTokens", "GeneratedTokens"], "t") == Columns((1,), (), (), (2,))
    assert pick(["output_length", "input_length"], "t") == Columns((1,), (), (), (0,))
    with pytest.raises(PertokenError, match="no output column"):
        pick(["input", "x"], "t")


@pytest.mark.parametrize(
    "bad",
    [
        {"input": 10}, {"output": 10}, {}, {"input": 10, "output": 5, "lengths": Lengths.fixed(1, 1)},
        {"input": 10, "output": 5, "cached": 1.5}, {"input": 10, "output": 5, "cached": float("nan")},
        {"input": 10, "output": 5, "rps": 1, "load": 0.5}, {"input": 10, "output": 5, "rps": 0},
        {"input": 10, "output": 5, "concurrency": 0.5}, {"input": 10, "output": 5, "load": 1.5},
        {"input": 10, "output": 5, "load": float("nan")}, {"input": 0, "output": 5}, {"input": 10, "output": float("inf")},
    ],
)  # fmt: skip
def test_bad_workloads_get_a_sentence(bad: dict[str, object]) -> None:
    with pytest.raises(PertokenError):
        Workload(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_bad_goals_get_a_sentence(value: float) -> None:
    with pytest.raises(PertokenError, match="--tpot"):
        Goals(tpot=value)
    with pytest.raises(PertokenError, match="--ttft"):
        Goals(ttft=value)


def test_bad_lengths_get_a_sentence() -> None:
    one = np.array([1.0])
    for inputs, outputs in ((one, np.array([1.0, 2.0])), (np.array([]), np.array([])), (np.array([[1.0]]), one)):
        with pytest.raises(PertokenError, match="lengths need"):
            Lengths(inputs, outputs)
    for wrong in (0.0, -1.0, np.nan, np.inf, 2e9):
        with pytest.raises(PertokenError, match="out of range"):
            Lengths(one, np.array([wrong]))
