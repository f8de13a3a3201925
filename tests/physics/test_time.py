"""Time of a step: monotone in what it should be, bounded by the roofline, and equal on arrays and scalars."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pertoken.engine.deployment import Deployment
from pertoken.engine.parallel import Split
from pertoken.engine.roofline import bounds, total_seconds
from pertoken.engine.step import Decode, Prefill, Step
from tests import maker

SPLITS = {
    "dense": (Split(), Split(tp=4), Split(tp=2, pp=2), Split(tp=16)),
    "moe": (Split(), Split(tp=8), Split(tp=4, ep=2), Split(dp=8, ep=8), Split(tp=2, dp=8, ep=16)),
}
NAMES = sorted(maker.KINDS)


def seconds(d: Deployment, batch: float = 8.0, context: float = 1000.0, new: float = 0.0) -> float:
    prefill = Prefill(1.0, new, 0.0) if new else None
    return float(total_seconds(d.run(Step((Decode(batch, context),), prefill, 1.0 if new else 0.0))))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("batch", "new"), [(1.0, 0.0), (64.0, 0.0), (8.0, 2000.0)])
def test_faster_hardware_is_never_slower(name: str, batch: float, new: float) -> None:
    model = maker.KINDS[name]()
    for knob, base in (("flops", 1e15), ("bandwidth", 3e12), ("link", 450e9)):
        times = [
            seconds(maker.deploy(model, Split(tp=2), on=maker.accelerator(**{knob: base * f})), batch, 900.0, new)
            for f in (0.5, 1.0, 2.0, 8.0)
        ]
        assert all(b <= a * (1 + 1e-12) for a, b in pairwise(times)), (knob, times)
        assert times[-1] < times[0] or (knob == "flops" and not new), f"{knob} must matter"


@pytest.mark.parametrize("name", [n for n in NAMES if n != "chunked"])
def test_longer_context_is_never_cheaper(name: str) -> None:
    d = maker.deploy(maker.KINDS[name]())
    times = [seconds(d, 16.0, c) for c in (0.0, 1.0, 10.0, 100.0, 511.0, 512.0, 2047.0, 2049.0, 1e4, 1e5, 1e6)]
    assert all(b >= a * (1 - 1e-12) for a, b in pairwise(times)), times
    assert times[-1] > times[0] * (1.0 if name == "recurrent" else 1.01)


def test_chunked_context_costs_as_far_as_its_chunk_is_filled() -> None:
    d = maker.deploy(maker.chunked())
    near = d.model.blocks[0].attention
    assert near.flop(1.0, 1024.0) < near.flop(1.0, 1023.0)  # type: ignore[union-attr]
    assert seconds(d, 16.0, 100_000.0) > seconds(d, 16.0, 100.0)


@pytest.mark.parametrize("name", NAMES)
def test_more_tokens_never_take_less_time(name: str) -> None:
    d = maker.deploy(maker.KINDS[name]())
    batches = [seconds(d, b) for b in (1.0, 1.5, 2.0, 7.0, 64.0, 256.0, 1000.0)]
    prompts = [seconds(d, 8.0, 1000.0, n) for n in (1.0, 2.0, 100.0, 170.0, 171.0, 172.0, 1000.0, 8192.0)]
    for times in (batches, prompts):
        assert all(b > a for a, b in pairwise(times)), times


@pytest.mark.parametrize("name", NAMES)
def test_no_step_is_faster_than_its_peaks_or_slower_than_no_overlap(name: str) -> None:
    d = maker.deploy(maker.KINDS[name](), Split(tp=2))
    step = Step((Decode(32.0, 3000.0),), Prefill(1.0, 500.0, 100.0), 1.0)
    ops = d.run(step)
    low, high = bounds(ops)
    assert low <= total_seconds(ops) <= high
    on = d.accelerator
    flop = sum(op.count * op.work.flop for op in ops)
    moved = sum(op.count * op.work.memory_bytes for op in ops)
    assert low >= max(flop / on.peak("bf16"), moved / on.bandwidth.value)


def test_a_lone_decode_takes_the_weight_read_on_the_bare_roofline() -> None:
    d = maker.bare(maker.llama_2_7b())
    matmuls = [op for op in d.run(Step((Decode(1.0, 0.0),))) if op.group not in ("elementwise", "host")]
    read = 2.0 * (d.model.matmul_parameters - 65 * 4096) / 3e12
    assert sum(op.seconds for op in matmuls) == pytest.approx(read, rel=1e-2)


def test_a_long_prefill_takes_its_flop_on_the_bare_roofline() -> None:
    d = maker.bare(maker.llama_2_7b())
    ops = [op for op in d.run(Step((), Prefill(1.0, 4096.0, 0.0), 1.0)) if op.group in ("attention", "feedforward")]
    assert sum(op.seconds for op in ops) == pytest.approx(sum(op.count * op.work.flop for op in ops) / 1e15, rel=1e-6)


@pytest.mark.parametrize("kind", sorted(SPLITS))
def test_splits_that_talk_to_each_other_take_time_to_do_so(kind: str) -> None:
    for split in SPLITS[kind]:
        ops = maker.deploy(maker.KINDS[kind](), split).run(Step((Decode(64.0, 1000.0),)))
        talk = sum(float(op.count * (op.link_s + op.overhead_s)) for op in ops if op.group == "links")
        assert (talk > 0) == (split.accelerators > 1)


def test_crossing_the_domain_is_slower() -> None:
    model = maker.dense()
    wide = seconds(maker.deploy(model, Split(tp=16), on=maker.accelerator(domain=16)), 256.0)
    narrow = seconds(maker.deploy(model, Split(tp=16), on=maker.accelerator(domain=8)), 256.0)
    none = seconds(maker.deploy(model, Split(tp=16), on=maker.accelerator(link=None)), 256.0)
    assert wide < narrow < none


@pytest.mark.parametrize("name", NAMES)
def test_arrays_equal_scalars_element_by_element(name: str) -> None:
    d = maker.deploy(maker.KINDS[name](), Split(tp=2))
    batch, context = np.array([1.0, 3.0, 64.0, 200.0]), np.array([1.0, 700.0, 5000.0, 90_000.0])
    new = np.array([1.0, 100.0, 171.0, 4000.0])
    arrays = total_seconds(d.run(Step((Decode(batch, context),), Prefill(1.0, new, context, context / 2), 1.0)))
    for i in range(4):
        step = Step((Decode(batch[i], context[i]),), Prefill(1.0, new[i], context[i], context[i] / 2), 1.0)
        assert total_seconds(d.run(step)) == pytest.approx(arrays[i], rel=1e-14)


def test_cutting_the_batch_into_groups_of_equal_context_changes_nothing() -> None:
    for name in NAMES:
        d = maker.deploy(maker.KINDS[name]())
        whole = total_seconds(d.run(Step((Decode(40.0, 700.0),))))
        groups = total_seconds(d.run(Step((Decode(10.0, 700.0),) * 4)))
        assert groups == pytest.approx(whole, rel=1e-12), name


def test_an_attention_without_sequences_launches_nothing() -> None:
    d = maker.deploy()
    ops = {op.name: op for op in d.run(Step((Decode(0.0, 700.0),), Prefill(1.0, 100.0, 0.0), 1.0))}
    assert ops["decode_attention"].seconds == 0.0
    assert ops["prefill_attention"].overhead_s > 0.0


def test_fp8_is_faster_and_smaller() -> None:
    half, byte = maker.deploy(), maker.deploy(weights="fp8", kv="fp8")
    assert byte.weight_bytes == pytest.approx(half.weight_bytes / 2, rel=1e-3)
    assert byte.sequence_bytes(100.0) == half.sequence_bytes(100.0) / 2
    assert seconds(byte, 64.0, 4000.0) < seconds(half, 64.0, 4000.0)


def test_a_missing_efficiency_is_said() -> None:
    made = replace(maker.efficiency(), elementwise=None)
    d = maker.deploy(shares=made, weights="fp8", kv="fp8")
    assert any("fp8" in sentence for sentence in d.assumed)
    assert any("norms" in sentence for sentence in d.assumed)
    assert not maker.deploy().assumed
