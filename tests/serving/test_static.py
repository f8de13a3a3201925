"""A static batch against the closed form, sums by hand, and limits."""

import numpy as np
import pytest

from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.errors import PertokenError
from pertoken.scenario import price
from pertoken.serving.lengths import Lengths
from pertoken.serving.static import static_batch


def deployment(model="llama-3.1-8b", on="1xh100-sxm", **knobs):
    return price(model, on=on, input=1, output=1, concurrency=1, rate="rent:1", **knobs).deployment


@pytest.mark.parametrize("tokens", [512, 2048, 8192])
def test_one_sequence_is_a_closed_loop_of_one(tokens):
    d = deployment()
    alone = price(
        "llama-3.1-8b", on="1xh100-sxm", input=tokens, output=128, concurrency=1, rate="rent:1"
    ).operating.state
    found = static_batch(d, Lengths.fixed(tokens, 128), 1)
    assert found.ttft_s == pytest.approx(float(alone.ttft_s), rel=1e-3)
    assert found.tpot_s == pytest.approx(float(alone.tpot_s), rel=1e-3)
    assert found.waves == 1


def test_time_is_that_of_all_steps_one_by_one():
    d = deployment()
    batch, fresh, output = 8, 512, 65
    steps = [total_seconds(d.run(Step((Decode(float(batch), fresh + k),)))) for k in range(output - 1)]
    prefill = total_seconds(d.run(Step((), Prefill(float(batch), float(fresh), 0.0), float(batch))))
    found = static_batch(d, Lengths.fixed(fresh, output), batch)
    assert found.prefill_s == pytest.approx(float(prefill))
    assert found.seconds == pytest.approx(float(prefill + sum(steps)), rel=1e-3)


def test_first_tokens_wait_for_the_prompts_ahead():
    d = deployment(token_budget=1024)
    found = static_batch(d, Lengths.fixed(512, 2), 8)  # two prompts a step, four steps
    step = float(total_seconds(d.run(Step((), Prefill(2.0, 512.0, 0.0), 2.0))))
    assert found.prefill_s == pytest.approx(4 * step)
    assert found.ttft_s == pytest.approx(2.5 * step)


def test_what_does_not_fit_is_served_in_waves():
    d = deployment()
    few = static_batch(d, Lengths.fixed(8192, 64), 32)
    many = static_batch(d, Lengths.fixed(8192, 64), 640)
    assert few.waves == 1 and many.waves > 5
    assert many.seconds > 15 * few.seconds


def test_sequences_that_end_early_leave_a_smaller_batch():
    d = deployment()
    even = static_batch(d, Lengths.fixed(256, 256), 64)
    mixed = static_batch(d, Lengths(np.full(2, 256.0), np.array([2.0, 510.0])), 64)
    assert mixed.seconds > even.seconds  # its steps are as many as its longest answer needs
    assert mixed.seconds < static_batch(d, Lengths.fixed(256, 510), 64).seconds


def test_bounds_hold_the_value():
    found = static_batch(deployment(), Lengths.fixed(1024, 128), 16)
    assert found.low <= 1 <= found.high


def test_nonsense_is_refused():
    d = deployment()
    with pytest.raises(PertokenError, match="at least 1"):
        static_batch(d, Lengths.fixed(10, 10), 0)
    with pytest.raises(PertokenError, match="does not fit"):
        static_batch(d, Lengths.fixed(1e8, 10), 1)


def test_answers_of_one_token_have_no_tpot():
    assert np.isnan(static_batch(deployment(), Lengths.fixed(128, 1), 4).tpot_s)
