"""Two micro-batches: what they hide, and what they never can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pertoken.engine.parallel import Split
from pertoken.engine.roofline import total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.errors import PertokenError
from tests import maker

WIDE = Split(dp=8, ep=8)
STEPS = {
    "decode": Step((Decode(64.0, 2000.0),)),
    "prefill": Step((), Prefill(4.0, 2048.0, 0.0), 4.0),
    "both": Step((Decode(64.0, 2000.0),), Prefill(1.0, 2048.0, 0.0), 1.0),
}


def pair(link: float = 450e9) -> tuple:
    plain = maker.deploy(maker.moe(), WIDE, on=maker.accelerator(link=link))
    return plain, replace(plain, overlap="micro-batches")


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("link", [1e9, 50e9, 450e9])
def test_hidden_time_is_between_the_larger_and_the_sum(name: str, link: float) -> None:
    _, overlapped = pair(link)
    half = STEPS[name].scaled(0.5)
    ops = replace(overlapped, overlap="none").run(half)
    sent = 2 * float(sum(op.seconds for op in ops if op.name in ("dispatch", "combine")))
    host = float(sum(op.seconds for op in overlapped.run(STEPS[name]) if op.group == "host"))
    rest = 2 * float(sum(op.seconds for op in ops if op.name not in ("dispatch", "combine") and op.group != "host"))
    total = float(total_seconds(overlapped.run(STEPS[name])))
    assert total == pytest.approx(max(sent, rest) + host, rel=1e-9)


def test_a_busy_link_gains_and_a_free_one_loses() -> None:
    """Halved batches read weights twice: where there is little to hide, overlap costs."""
    slow, hidden = pair(200e9)
    step = STEPS["prefill"]
    assert total_seconds(hidden.run(step)) < total_seconds(slow.run(step))
    fast, wasted = pair(1e15)
    fast, wasted = (replace(d, chooser=replace(d.chooser, efficiency=maker.ideal())) for d in (fast, wasted))
    decode = STEPS["decode"]
    assert total_seconds(wasted.run(decode)) >= total_seconds(fast.run(decode)) * 0.999


@pytest.mark.parametrize("name", STEPS)
def test_work_of_tokens_is_the_same(name: str) -> None:
    plain, overlapped = pair()
    for what in ("flop", "link_bytes", "kv_bytes"):
        one, two = (
            sum(float(op.count * getattr(op.work, what)) for op in d.run(STEPS[name])) for d in (plain, overlapped)
        )
        assert one == pytest.approx(two, rel=1e-9), what


def test_without_experts_over_lanes_there_is_nothing_to_hide() -> None:
    with pytest.raises(PertokenError, match="--ep"):
        replace(maker.deploy(maker.dense()), overlap="micro-batches")
    with pytest.raises(PertokenError, match="--overlap"):
        replace(maker.deploy(maker.moe(), WIDE), overlap="magic")
