"""Counterfactuals: what each must and must not change, and words for those that cannot be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.scenario import price
from pertoken.whatif.ask import COUNTERFACTUALS, ask, read, spelled, what_if
from pertoken.whatif.base import Outcome, binding
from tests.explain.test_tree import check_cost
from tests.test_cost import check_adds_up

JOB = {"on": "8xh100-sxm", "dtype": "fp8", "input": 4096, "output": 512, "concurrency": 64, "rate": "rent:2"}
SETTINGS = {
    "closed": JOB,
    "saturated": {k: v for k, v in JOB.items() if k != "concurrency"},
    "load": {k: v for k, v in JOB.items() if k != "concurrency"} | {"load": 0.4},
    "cached": JOB | {"cached": 0.6, "utilisation": 0.3},
    "moe": JOB | {"model": "gpt-oss-120b", "dtype": None},
    "latent": JOB | {"model": "deepseek-v3", "on": "8xh200-sxm", "dtype": None},
    "hybrid": JOB | {"model": "qwen3.5-35b-a3b"},
    "wide": {"model": "deepseek-v3", "on": "16xh200-sxm", "tp": 1, "dp": 16, "ep": 16, "input": 2000, "output": 300,
             "concurrency": 512, "rate": "rent:2", "overlap": "micro-batches"},
    "one token": JOB | {"output": 1},
    "allocation": {k: v for k, v in JOB.items() if k != "concurrency"} | {"rps": 2, "basis": "allocation"},
}  # fmt: skip


def case(name: str) -> Cost:
    return price(**({"model": "llama-3.1-70b"} | SETTINGS[name]))


@pytest.fixture(scope="module")
def closed() -> Cost:
    return case("closed")


def after(cost: Cost, name: str) -> Cost:
    found = what_if(cost, name).after
    assert found is not None, name
    return found.cost


def total(cost: Cost) -> float:
    return cost.accelerator_s_per_request.value


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_outcome_is_a_bill_that_adds_up_or_a_sentence(setting: str) -> None:
    outcomes = ask(case(setting), ["all"])
    assert [o.name for o in outcomes] == [spelled(c) for c in COUNTERFACTUALS.values()]
    applied = 0
    for outcome in outcomes:
        if outcome.after is None:
            assert len(outcome.refused) > 30 and outcome.refused[0] != " ", outcome
            continue
        applied += 1
        check_adds_up(outcome.after.cost)
        check_cost(outcome.after.cost)
        figures = outcome.figures(outcome.after.cost)
        assert all(math.isfinite(v) and v >= 0 for v in figures.values()), outcome.name
        assert all(seconds >= 0 for _, seconds in outcome.after.lines)
        assert sum(seconds for _, seconds in outcome.after.lines) < outcome.after.cost.accelerator_s.output.value
        for token in ("input", "output"):
            name, share = binding(outcome.after.cost, token)
            assert name in ("memory", "compute", "links", "overhead") and 0 <= share <= 1
    assert applied >= 8


def test_no_cache_is_quadratic() -> None:
    """Without a cache an output token costs its whole context: ten times the context, about ten times the cost."""
    base = {k: v for k, v in JOB.items() if k not in ("input", "output")}
    short, long = (price("llama-3.1-70b", **base, input=n, output=10) for n in (2000, 20_000))
    ratio = (
        after(long, "no-kv-cache").accelerator_s.output.value / after(short, "no-kv-cache").accelerator_s.output.value
    )
    assert 9.0 < ratio < 14.0
    kept = long.accelerator_s.output.value / short.accelerator_s.output.value
    assert kept < 0.7 * ratio


def test_no_cache_pays_a_prompt_for_each_output_token(closed: Cost) -> None:
    """The cost of an output token is about that of prefilling its context."""
    bare = after(closed, "no-kv-cache")
    context = 4096 + 511 / 2
    assert bare.accelerator_s.output.value == pytest.approx(bare.accelerator_s.input.value * context, rel=0.05)


def test_one_at_a_time_is_the_case_at_concurrency_one(closed: Cost) -> None:
    alone = price("llama-3.1-70b", **(JOB | {"concurrency": 1}))
    assert after(closed, "no-batching").accelerator_s.output == alone.accelerator_s.output
    assert what_if(alone, "no-batching").after is None


def test_a_smaller_cache_is_cheaper_to_read(closed: Cost) -> None:
    fp8, int4 = after(closed, "kv-fp8"), after(closed, "kv-int4")
    assert total(int4) < total(fp8) < total(closed)
    asked = price("llama-3.1-70b", **(JOB | {"kv_dtype": "fp8"}))
    assert total(fp8) == pytest.approx(total(asked), rel=1e-9)
    assert "already" in what_if(asked, "kv-fp8").refused


def test_undoing_grouped_queries_multiplies_the_cache(closed: Cost) -> None:
    undone = after(closed, "no-gqa")
    held = undone.deployment.sequence_bytes(1000.0) / closed.deployment.sequence_bytes(1000.0)
    assert held == pytest.approx(8.0)  # 64 query heads on 8 key-value heads
    assert total(undone) > total(closed)


def test_windows_and_budgets_cost_less_the_smaller_they_are(closed: Cost) -> None:
    for name in ("window", "evict"):
        small, large = after(closed, f"{name}:256"), after(closed, f"{name}:2048")
        assert total(small) < total(large) < total(closed), name
        beyond = after(closed, f"{name}:1000000")
        assert total(beyond) == pytest.approx(total(closed), rel=2e-3), name
    # a window also spares the prompt, a budget does not
    assert after(closed, "window:256").operating.ttft_s < after(closed, "evict:256").operating.ttft_s


def test_sparse_attention_pays_for_its_indexer_and_wins_when_long() -> None:
    long = price("deepseek-v3", on="8xh200-sxm", input=120_000, output=2000, concurrency=8)
    assert after(long, "top-k").accelerator_s.output.value < 0.9 * long.accelerator_s.output.value
    short = price("deepseek-v3", on="8xh200-sxm", input=1000, output=500, concurrency=8)
    assert total(after(short, "top-k")) > total(short)


def test_a_prefix_cache_is_the_case_with_cached_input(closed: Cost) -> None:
    asked = price("llama-3.1-70b", **(JOB | {"cached": 0.5}))
    assert total(after(closed, "prefix-cache:0.5")) == pytest.approx(total(asked), rel=1e-9)
    assert total(after(closed, "prefix-cache:0.9")) < total(after(closed, "prefix-cache:0.1"))


def test_speculation_gains_with_acceptance_and_charges_rejected_drafts(closed: Cost) -> None:
    few, some, many = (what_if(closed, f"speculative:{a}").after for a in (1.0, 2.0, 2.9))
    assert few and some and many
    assert total(many.cost) < total(few.cost)
    assert total(few.cost) > total(closed), "drafts that are all rejected cost, and gain nothing"
    lost = dict(few.lines)["rejected drafts"], dict(many.lines)["rejected drafts"]
    assert lost[0] > lost[1] > 0
    whole = what_if(closed, "speculative:4").after  # four drafts, three accepted and one more emitted
    assert whole and dict(whole.lines)["rejected drafts"] > 0
    state = some.cost.operating.state
    assert float(state.tpot_s) < float(closed.operating.state.tpot_s)


def test_pools_end_the_wait_for_prompts(closed: Cost) -> None:
    pools = after(closed, "split-pools")
    kinds = pools.operating.state.kinds
    assert all((k.step.prefill is None) != (float(k.step.decode_tokens) == 0) for k in kinds), "no step does both"
    assert float(pools.operating.state.tpot_s) < float(closed.operating.state.tpot_s)
    assert "does not say" in what_if(case("load"), "split-pools").refused
    slow = price("llama-3.1-70b", **(JOB | {"network": "10MB/s"}))
    assert total(after(slow, "split-pools")) > total(pools), "a transfer longer than the prefill is paid for"


def test_requests_in_flight_over_both_pools_are_those_asked_for(closed: Cost) -> None:
    """Little's law: with N per accelerator machine, N are in flight, unless memory keeps them out."""
    few = price("llama-3.1-70b", **(JOB | {"concurrency": 16}))
    pools = after(few, "split-pools")
    assert pools.operating.concurrency == pytest.approx(16, rel=0.02)


@pytest.mark.parametrize(("name", "part"), [("bandwidth", "memory"), ("flops", "compute"), ("links", "links")])
def test_a_faster_machine_costs_less_and_its_resource_binds_less(closed: Cost, name: str, part: str) -> None:
    def spent(cost: Cost) -> float:
        bounds = {
            "weights": "memory",
            "kv": "memory",
            "activations": "memory",
            "compute": "compute",
            "padding": "compute",
        }
        return sum(v for (_, p), v in cost.parts().items() if bounds.get(p, p) == part)

    twice, same, half = (after(closed, f"{name}:{x}") for x in (2, 1, 0.5))
    assert total(twice) < total(closed) < total(half)
    assert total(same) == pytest.approx(total(closed), rel=1e-9)
    assert spent(twice) < spent(closed)


def test_more_memory_counts_only_where_memory_binds(closed: Cost) -> None:
    free = after(closed, "memory:2")
    assert total(free) == pytest.approx(total(closed), rel=1e-9)
    tight = price("llama-3.1-8b", on="1xrtx-4090", dtype="fp8", input=8000, output=500, tpot=1, ttft=30, rate="rent:1")
    assert tight.operating.bound == "KV memory", "else it is no case for this test"
    more = after(tight, "memory:2")
    assert total(more) < total(tight)
    assert more.operating.state.batch > 1.5 * tight.operating.state.batch


def test_a_load_stays_its_request_rate() -> None:
    cost = case("load")
    assert after(cost, "kv-fp8").requests_per_s == pytest.approx(cost.requests_per_s, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no-cache", "did you mean no-kv-cache"), ("windows:10", "did you mean window:4096"), ("", "is not known"),
        ("no-gqa:3", "takes no amount"), ("window:0", "whole number from 1"), ("window:1.5", "whole number"),
        ("window:nan", "whole number"), ("speculative:0.5", "from 1 to 16"), ("prefix-cache:2", "from 0 to 1"),
        ("bandwidth:x", "from 0.01"), ("bandwidth:", "from 0.01"), ("flops:1e400", "from 0.01"),
    ],
)  # fmt: skip
def test_a_wrong_name_or_amount_gets_a_sentence(text: str, says: str) -> None:
    with pytest.raises(PertokenError, match=says):
        read(text)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=30), st.builds("{}:{}".format, st.sampled_from(sorted(COUNTERFACTUALS)), st.text(max_size=12))
    )
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found, amount = read(text)
    except PertokenError as error:
        assert len(str(error)) > 30
        return
    assert found.amount is None or found.low <= amount <= found.high


def test_all_spelled_out_names_are_read() -> None:
    for name, known in COUNTERFACTUALS.items():
        assert read(spelled(known))[0].name == name
        assert isinstance(known.sentence(known.amount or 0.0), str)
    assert isinstance(what_if(case("closed"), "kv-fp8"), Outcome)


def test_pools_and_drafts_agree_with_steps_timed_by_hand(closed: Cost) -> None:
    """An independent account: a request needs so many steps of each pool, and a speculative step emits so many tokens."""
    from pertoken.engine.roofline import total_seconds
    from pertoken.engine.step import Decode, Prefill, Step

    d = closed.deployment
    pools = after(closed, "split-pools")
    batch = float(pools.operating.state.batch)
    chunk = d.run(Step((), Prefill(2.0, 4096.0, 0.0), 2.0))  # the token budget of 8,192 holds two prompts
    decode = d.run(Step((Decode(batch, 4096 + 510 / 2),)))
    seconds = float(total_seconds(chunk)) / 2 + 511 / batch * float(total_seconds(decode))
    assert total(pools) == pytest.approx(d.split.tp * seconds, rel=1e-6)
    case_ = what_if(closed, "speculative:2").after
    assert case_ is not None
    state, moments = case_.cost.operating.state, case_.cost.operating.moments
    assert float(moments.decoded) == pytest.approx(511 / 2)
    assert (moments.width, moments.accepted) == (3.0, 2.0)
    mean = float(state.finished) * 511 / 2  # sequences that decode in a mean step
    decoding = sum(float(k.share) * float(k.step.decode_sequences) for k in state.kinds)
    assert decoding == pytest.approx(mean, rel=1e-6)
