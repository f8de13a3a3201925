"""Parts of the engine: work adds, splits multiply, collectives move what theory says, profiles and choices are said."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.catalog import files, machines
from pertoken.engine.collectives import CollectiveOp, Fabric, passes
from pertoken.engine.efficiency import CollectiveEfficiency
from pertoken.engine.parallel import Split, default_split
from pertoken.engine.profile import profile_from_dict
from pertoken.engine.step import Decode, Prefill, Step
from pertoken.engine.transfer import Chooser
from pertoken.engine.work import Work
from pertoken.errors import DoesNotFit, PertokenError
from pertoken.model.precision import FORMATS
from pertoken.serving.lengths import Lengths
from pertoken.serving.steady import cache_slots
from tests import maker

SIZES = st.floats(0, 1e18)
FREE = CollectiveEfficiency(0.0, 0.0, 1.0, 0.0)


@given(st.lists(SIZES, min_size=10, max_size=10), st.floats(0, 1e3))
def test_work_adds_and_scales(values: list[float], factor: float) -> None:
    a, b = Work(*values[:5]), Work(*values[5:])
    for f in fields(Work):
        assert getattr(a + b, f.name) == getattr(a, f.name) + getattr(b, f.name)
        assert getattr(factor * a, f.name) == getattr(a * factor, f.name) == getattr(a, f.name) * factor
    assert (a + b).memory_bytes == pytest.approx(a.memory_bytes + b.memory_bytes)
    assert "link" not in str(a.memory_bytes)
    assert a.memory_bytes == a.weight_bytes + a.kv_bytes + a.activation_bytes


def test_a_step_counts_its_tokens_once() -> None:
    step = Step((Decode(3.0, 10.0), Decode(2.0, 90.0)), Prefill(2.0, 50.0, 10.0), 1.0)
    assert (step.input_tokens, step.decode_tokens, step.tokens) == (100.0, 5.0, 105.0)
    assert step.emitted == 6.0
    assert step.sequences == 7.0
    assert Step().tokens == 0.0


@pytest.mark.parametrize("ranks", [2, 3, 8, 72])
def test_ring_all_reduce_sends_two_passes(ranks: int) -> None:
    chunks = ranks  # a ring sends one of p chunks in each of p - 1 rounds, to reduce and again to gather
    sent = sum(1.0 / chunks for _ in range(2 * (ranks - 1)))
    assert passes("all_reduce", ranks) == pytest.approx(sent)
    assert passes("all_gather", ranks) + passes("reduce_scatter", ranks) == pytest.approx(sent)
    assert passes("send", ranks) == 1.0


def test_collectives_time_their_bytes_on_link_and_network() -> None:
    step, fabric = Step((Decode(10.0, 0.0),)), Fabric(400e9, 8, 50e9)

    def one(kind: str, ranks: int) -> object:
        return CollectiveOp("x", "links", 1, kind, ranks, 1e6, fabric, FREE).at(step)[0]

    inside = one("all_reduce", 8)
    assert inside.work.link_bytes == pytest.approx(2 * 7 / 8 * 1e7)  # type: ignore[attr-defined]
    assert inside.link_s == pytest.approx(2 * 7 / 8 * 1e7 / 400e9)  # type: ignore[attr-defined]
    across = one("all_reduce", 16)
    assert across.link_s == pytest.approx(2 * 7 / 8 * 1e7 / 400e9 + 2 * 1 / 2 * 1e7 / 8 / 50e9)  # type: ignore[attr-defined]
    assert across.overhead_s > 0.0  # type: ignore[attr-defined]
    spread = one("all_to_all", 16)
    assert spread.work.link_bytes == pytest.approx(15 / 16 * 1e7)  # type: ignore[attr-defined]
    assert spread.link_s == pytest.approx(8 / 16 * 1e7 / 50e9)  # type: ignore[attr-defined]


def test_collectives_of_no_tokens_take_no_link_time() -> None:
    wire = CollectiveEfficiency(1e-6, 1e-7, 0.8, 1e6)
    found = CollectiveOp("x", "links", 1, "all_reduce", 8, 1e6, Fabric(4e11, 8, 5e10), wire).at(
        Step((Decode(0.0, 0.0),))
    )
    assert found[0].link_s == 0.0


def test_a_split_multiplies() -> None:
    split = Split(tp=4, pp=2, dp=3)
    assert split.accelerators == 24
    assert split.lanes == 6
    assert str(split) == "tp4 pp2 dp3"
    assert str(Split()) == "tp1"
    assert Split(tp=4, ep=2).expert_split == 2
    assert Split(tp=2, dp=8, ep=16).pool == 8


@pytest.mark.parametrize(
    "bad",
    [
        {"tp": 0},
        {"tp": -1},
        {"pp": 1.5},
        {"dp": True},
        {"tp": 10**6},
        {"ep": 3},
        {"tp": 4, "ep": 3},
        {"tp": 2, "dp": 3, "ep": 4},
    ],
)
def test_splits_that_cannot_be_get_a_sentence(bad: dict[str, object]) -> None:
    with pytest.raises(PertokenError, match="--"):
        Split(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("split", "name", "says"),
    [
        (Split(tp=3), "dense", "tensor parallel"), (Split(tp=32), "dense", "tensor parallel"), (Split(pp=9), "dense", "--pp"),
        (Split(tp=2, ep=2), "dense", "--ep"), (Split(dp=64, ep=64), "moe", "--ep"),
    ],
)  # fmt: skip
def test_splits_that_do_not_suit_the_model_get_a_sentence(split: Split, name: str, says: str) -> None:
    with pytest.raises(PertokenError, match=says):
        maker.deploy(maker.KINDS[name](), split)


SIZE = st.one_of(st.none(), st.integers(1, 16))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 64), st.sampled_from([1, 8, 72]), SIZE, SIZE, SIZE)
def test_default_splits_use_every_accelerator_or_say_why_not(
    accelerators: int, domain: int, tp: int | None, pp: int | None, dp: int | None
) -> None:
    try:
        split = default_split(maker.dense(), accelerators, domain, tp, pp, None, dp)
    except PertokenError as error:
        assert "use" in str(error)
        return
    assert split.accelerators == accelerators
    assert tp is None or split.tp == tp
    assert pp is None or split.pp == pp
    assert dp is None or split.dp == dp
    if tp is None:
        assert split.tp <= max(domain, 1)
        assert 16 % split.tp == 0


def test_a_profile_is_read_with_its_sources() -> None:
    made = maker.profile()
    table = {
        f.name: {"value": getattr(made, f.name).value, "unit": getattr(made, f.name).unit, "source": "s"}
        for f in fields(made)
        if hasattr(getattr(made, f.name), "value")
    } | {"name": "e", "title": "E", "versions": "1", "sources": {"s": {"title": "a title"}}}
    found = profile_from_dict(table, "e.toml")
    assert found.token_budget.value == 8192
    assert found.token_budget.source.title == "a title"
    for key in ("token_budget", "memory_fraction", "title"):
        for wrong in (None, -1, float("nan"), True, "x" if key != "title" else 3, {"value": 1, "unit": "furlong"}):
            with pytest.raises(PertokenError, match=f"e.toml: {key}"):
                profile_from_dict(table | {key: wrong}, "e.toml")
    with pytest.raises(PertokenError, match="source"):
        profile_from_dict(table | {"token_budget": {"value": 5, "source": "nowhere"}}, "e.toml")


def test_a_chooser_says_what_stood_in() -> None:
    chooser = Chooser(replace(maker.efficiency(), matmul={"bf16": maker.efficiency().matmul["bf16"]}))
    assert chooser.kernel("matmul", "bf16", "bf16") is chooser.efficiency.matmul["bf16"]
    assert not chooser.assumed
    for _ in range(2):
        chooser.kernel("matmul", "nvfp4", "nvfp4")
    assert len(chooser.assumed) == 1
    assert "nvfp4" in chooser.assumed[0]
    with pytest.raises(PertokenError, match="no matmul efficiency"):
        Chooser(replace(maker.efficiency(), matmul={})).kernel("matmul", "bf16", "bf16")


def test_missing_arithmetic_is_refused_not_replaced() -> None:
    with pytest.raises(PertokenError, match="no nvfp4 arithmetic"):
        maker.deploy(weights="nvfp4")
    assert maker.deploy(weights="int4").weight_bytes < maker.deploy(weights="fp8").weight_bytes


def test_fit_is_a_matter_of_bytes() -> None:
    d = maker.deploy()
    most = d.cache_capacity / d.sequence_bytes(1.0)
    d.check_fit(np.floor(most))
    with pytest.raises(DoesNotFit, match="too many") as caught:
        d.check_fit(np.floor(most) + 1)
    assert 0 < caught.value.shortfall <= d.sequence_bytes(1.0)
    assert d.kv_tokens == pytest.approx(most)
    assert maker.deploy(None, Split(dp=3)).kv_tokens == pytest.approx(3 * most)
    assert maker.deploy(None, Split(tp=2)).cache_capacity > d.cache_capacity


def test_the_plan_merges_equal_layers_and_counts_them_all() -> None:
    plan = maker.deploy(maker.moe()).plan
    assert len({replace(op, count=0) for op in plan}) == len(plan)
    counts = {op.name: op.count for op in plan}
    assert counts["qkv"] == 8
    assert counts["experts"] == 7
    assert counts["gate_up"] == 1
    assert counts["head"] == 1


def test_pipeline_stages_share_weights_and_cache() -> None:
    one, two = maker.deploy(), maker.deploy(None, Split(pp=2))
    assert two.sequence_bytes(1000.0) == one.sequence_bytes(1000.0) / 2
    assert two.weight_bytes < 0.7 * one.weight_bytes
    assert two.kv_tokens > 2 * one.kv_tokens
    moments = Lengths.fixed(1000, 100).moments()  # each of the two batches in flight may use half of a stage's cache
    assert cache_slots(two, moments) == pytest.approx(two.kv_tokens / moments.context / 2)
    assert cache_slots(one, moments) == pytest.approx(one.kv_tokens / moments.context)


@pytest.mark.parametrize("name", files.names("accelerators"))
def test_one_token_is_bound_by_memory_on_every_accelerator(name):
    """Padding carried over from another accelerator must not pass the weight read."""
    accelerator = machines.load_accelerator(name)
    chooser = machines.chooser(accelerator)
    compute = accelerator.compute_for(FORMATS["bf16"])
    efficiency = chooser.kernel("matmul", "bf16", compute)
    k = n = 8192
    read = 2.0 * k * n / (accelerator.bandwidth.value * efficiency.memory(2.0 * k * n))
    worked = 2.0 * k * n / (accelerator.peak(compute) * efficiency.compute(1.0, n, k))
    assert worked <= read


def test_ranks_in_slots_do_not_borrow_a_switched_links_collectives():
    slots, switched = (machines.chooser(machines.load_accelerator(name)) for name in ("rtx-3090", "a100-sxm-40gb"))
    found = slots.collective("all_reduce")
    assert found == machines.load_efficiency(machines.SLOTS).collective["all_reduce"]
    assert found != switched.collective("all_reduce")
    assert any(machines.SLOTS in sentence for sentence in slots.assumed)


def test_an_interval_is_read_and_widens_where_nothing_was_measured() -> None:
    made = maker.profile()
    table = {
        f.name: {"value": getattr(made, f.name).value, "unit": getattr(made, f.name).unit}
        for f in fields(made)
        if hasattr(getattr(made, f.name), "value")
    } | {"name": "e", "title": "E", "versions": "1"}
    found = profile_from_dict(table | {"interval": {"tpot": [0.8, 1.25]}, "mixed": False}, "e.toml")
    assert found.interval == {"tpot": (0.8, 1.25)}
    assert not found.mixed
    for wrong in ({"tpot": [1.2, 1.5]}, {"tpot": [0.8]}, {"itl": [0.8, 1.2]}, {"tpot": "x"}, 3):
        with pytest.raises(PertokenError, match=r"e\.toml"):
            profile_from_dict(table | {"interval": wrong}, "e.toml")
    with pytest.raises(PertokenError, match="mixed"):
        profile_from_dict(table | {"mixed": "no"}, "e.toml")


def test_an_engine_that_reserves_admits_fewer_and_one_that_counts_free_memory_keeps_a_share_of_it() -> None:
    plain = maker.deploy()
    moments = Lengths.fixed(100.0, 900.0).moments()
    holding = replace(plain, profile=replace(plain.profile, reserves=True))
    whole = plain.cache_capacity / float(plain.sequence_bytes(1000.0))
    assert cache_slots(holding, moments) == pytest.approx(whole)
    assert cache_slots(plain, moments) > cache_slots(holding, moments)
    free = replace(plain, profile=replace(plain.profile, of_free=True))
    left = plain.accelerator.memory.value - plain.weight_bytes - plain.workspace_bytes
    assert free.cache_capacity == pytest.approx(plain.profile.memory_fraction.value * left)
    assert plain.cache_capacity < free.cache_capacity < left
