"""The regression finds what it was given, says what it cannot tell, and its intervals hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pertoken.errors import PertokenError
from pertoken.measure import expected, fit, regress
from pertoken.measure.records import Answer, with_steps
from tests import maker

TRUE = {"request": 5e-3, "token": 2e-4, "pair": 3e-7, "cached": 0.0, "step": 8e-3, "sequence": 4e-4, "context": 2e-7}
LENGTHS = ((64, 0), (256, 0), (1024, 0), (4096, 0), (512, 3584), (512, 0))


def prompt_seconds(fresh: float, cached: float) -> float:
    p = fit.Prefilled(1.0, fresh, cached)
    return TRUE["request"] + TRUE["token"] * fresh + TRUE["pair"] * p.pairs


def step_seconds(batch: float, context: float) -> float:
    return TRUE["step"] + batch * (TRUE["sequence"] + TRUE["context"] * context)


def measured(rng: np.random.Generator | None = None, scatter: float = 0.0, repeats: int = 3) -> fit.Steps:
    def off() -> float:
        return float(np.exp(scatter * rng.standard_normal())) if rng else 1.0

    prompts = [fit.Prefilled(prompt_seconds(f, c) * off(), f, c) for f, c in LENGTHS for _ in range(repeats)]
    batches = [
        fit.Decoded(step_seconds(b, c) * off(), b, c) for b in (1, 2, 4, 8) for c in (50, 2000) for _ in range(repeats)
    ]
    return fit.fit_steps(prompts, batches)


def test_exact_measurements_give_back_every_part() -> None:
    steps = measured()
    assert steps.prefill is not None and steps.decode is not None and steps.notes == ()
    for line in (steps.prefill, steps.decode):
        for name in line.names:
            assert line[name] == pytest.approx(TRUE[name], rel=1e-6, abs=1e-12)
    assert steps.first_token(700, 300)[0] == pytest.approx(prompt_seconds(700, 300))
    assert steps.output_token(4, 900)[0] == pytest.approx(step_seconds(4, 900) / 4)
    assert steps.input_token(1000)[0] == pytest.approx(TRUE["token"] + 1000 * TRUE["pair"])


def test_a_few_disturbed_measurements_move_little() -> None:
    steps = measured(np.random.default_rng(1), 0.02, 5)
    spoilt = [
        fit.Prefilled(p.seconds * (3.0 if i % 7 == 0 else 1.0), p.fresh, p.cached) for i, p in enumerate(steps.prompts)
    ]
    robust = fit.fit_steps(spoilt, []).prefill
    columns = fit.prefill_columns(spoilt)
    y = np.array([p.seconds for p in spoilt])
    plain = np.linalg.lstsq(np.stack(list(columns.values()), axis=1) / y[:, None], np.ones(y.size), rcond=None)[0]
    assert robust is not None and abs(robust["token"] / TRUE["token"] - 1.0) < 0.05
    assert abs(plain[1] / TRUE["token"] - 1.0) > 0.05, "negative control: least squares is moved"


def test_intervals_hold() -> None:
    inside, runs = 0, 300
    for seed in range(runs):
        steps = measured(np.random.default_rng(seed), 0.05)
        _, low, high = steps.output_token(4, 1000)
        inside += low <= step_seconds(4, 1000) / 4 <= high
    assert 0.84 <= inside / runs <= 0.96


def test_what_cannot_be_told_is_said() -> None:
    prompts = [fit.Prefilled(prompt_seconds(512, c), 512, c) for c in (0, 3584) for _ in range(3)]
    steps = fit.fit_steps(prompts, [fit.Decoded(0.01, 1, 50), fit.Decoded(0.01, 1, 50)])
    assert steps.prefill is not None and not steps.prefill.told.all()
    assert any("do not tell apart" in note for note in steps.notes)
    assert math.isnan(steps.prefill.error("request"))
    # and yet a chunk between those two is predicted, for they share its effect
    for cached in (1024, 2048):
        assert steps.first_token(512, cached)[0] == pytest.approx(prompt_seconds(512, cached), rel=1e-6)


def test_too_little_is_said() -> None:
    steps = fit.fit_steps([], [fit.Decoded(0.01, 1, 50)])
    assert steps.prefill is None and steps.decode is None and len(steps.notes) == 2
    with pytest.raises(PertokenError, match="no prompts"):
        steps.first_token(5)
    with pytest.raises(PertokenError):
        regress.fit({"a": np.ones(3)}, np.array([1.0, 0.0, 2.0]))


def answer(batch: int, first: float, last: float, output: int, **more: object) -> Answer:
    return Answer("decode", 1, batch, 0.0, first, last, 100, output, 0, **more)  # type: ignore[arg-type]


def test_a_step_is_timed_while_all_decode() -> None:
    """Two streams of one token each 10 ms, the second half a second later: only the time in common counts."""
    times = [[0.01 * i for i in range(101)], [0.5 + 0.02 * i for i in range(51)]]
    made = with_steps([(answer(2, t[0], t[-1], len(t)), t) for t in times])
    both = (0.5 / 0.01 + 0.5 / 0.02) / 2.0
    assert made[0].step_s == made[1].step_s == pytest.approx(0.5 / both, rel=1e-6)


def test_several_tokens_in_an_event_are_counted_by_usage() -> None:
    times = [0.1 * i for i in range(11)]
    (made,) = with_steps([(answer(1, times[0], times[-1], 41), times)])
    assert made.step_s == pytest.approx(1.0 / 40)


def test_no_step_where_they_never_decode_together() -> None:
    early, late = [0.01 * i for i in range(20)], [1.0 + 0.01 * i for i in range(20)]
    made = with_steps([(answer(2, t[0], t[-1], 20), t) for t in (early, late)])
    assert all(math.isnan(a.step_s) for a in made)
    half = with_steps([(answer(2, early[0], early[-1], 20), early)])  # the other one failed
    assert math.isnan(half[0].step_s)


def test_the_model_is_taken_apart_in_the_same_way() -> None:
    deployment = maker.deploy()
    prompts = [fit.Prefilled(expected.first_token(deployment, f, c), f, c) for f, c in LENGTHS]
    batches = [fit.Decoded(expected.decode_step(deployment, b, c), b, c) for b in (1, 2, 4, 8) for c in (50, 2000)]
    steps = fit.fit_steps(prompts, batches)
    own = expected.expected_steps(deployment, steps)
    assert own.prefill is not None and steps.prefill is not None
    assert own.prefill.value == pytest.approx(steps.prefill.value)
    assert all(c.error == pytest.approx(0.0, abs=1e-12) for c in expected.compare(deployment, steps))
    terms = expected.deciding(deployment, steps)
    assert terms["token"] == "compute" and terms["step"] == "overhead" and terms["context"] == "memory"
    assert expected.deciding(maker.bare(), steps)["step"] == "memory"  # without a host's time


def test_chunks_of_a_prompt_add_up_and_later_ones_are_dearer() -> None:
    deployment = maker.deploy()
    assert expected.first_token(deployment, 512, 8192) > expected.first_token(deployment, 512)
    assert expected.first_token(deployment, 20_000) > 2 * expected.first_token(deployment, 8_000)
    assert expected.decode_step(deployment, 8, 1000) / 8 < expected.decode_step(deployment, 1, 1000)
