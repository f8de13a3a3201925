"""The n-th token: positions add up to the request, the views are ordered as theory says, and occupants pay what readers do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pertoken as pt
from pertoken.attribution.at import MOST_POSITIONS
from pertoken.attribution.batch import PARTS, Batch, total
from pertoken.attribution.crossing import ATTENTION, PRODUCTS, first, input_flop, mean_upto, share
from pertoken.attribution.marginal import Marginal
from pertoken.attribution.position import VIEWS, Positions, positions
from pertoken.attribution.views import Alone, Fair
from pertoken.cost import Cost, price_deployment
from pertoken.engine.ops import AttentionOp
from pertoken.engine.parallel import Split
from pertoken.engine.step import Decode, Step
from pertoken.errors import PertokenError
from pertoken.money.rate import rent
from pertoken.serving.lengths import Lengths
from pertoken.serving.workload import Workload
from tests import maker

NAMES = sorted(maker.KINDS)
LINEAR = [name for name in NAMES if maker.KINDS[name]().linear_in_context]


def priced(name: str, input_tokens: int, output: int, *, bare: bool = False, **more: float) -> Cost:
    make = maker.bare if bare else maker.deploy
    workload = Workload(input=input_tokens, output=output, **({"concurrency": 40} | more))  # type: ignore[arg-type]
    return price_deployment(make(maker.KINDS[name](), Split(tp=2)), workload, rent(2.5))


def sums(cost: Cost, input_tokens: int, output: int, **how: str) -> tuple[float, float]:
    """Dollars of all input and all output positions of a request."""
    start = round(cost.tokens_per_request["cached"]) + 1
    given = cost.at(input=np.arange(start, input_tokens + 1), **how)
    made = cost.at(output=np.arange(1, output + 1), input=input_tokens, **how)
    return float(given.value.sum()), float(made.value.sum())


def owed(cost: Cost, token: str) -> float:
    """Dollars of a mean request's tokens of a kind, by the fair share."""
    return float(cost.tokens_per_request[token] * getattr(cost.per_million, token).value / 1e6)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("in_flight", [1, 40])
@pytest.mark.parametrize("cached", [0.0, 0.5])
def test_positions_of_a_request_sum_to_it_exactly_where_cost_is_linear(
    name: str, in_flight: int, cached: float
) -> None:
    """Prompts of one chunk on the bare roofline: one thing binds each read, and no ramp depends on others."""
    cost = priced(name, 1000, 100, bare=True, concurrency=in_flight, cached=cached)
    # latent attention takes the cheaper of two forms for its chunk; a token's own part of it is that of one form: 1e-6
    close = 1e-6 if name == "latent" else 1e-12
    assert sums(cost, 1000, 100) == pytest.approx((owed(cost, "input"), owed(cost, "output")), rel=close)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("in_flight", [1, 40])
def test_positions_sum_to_a_request_within_the_curvature_of_the_ramp(name: str, in_flight: int) -> None:
    """With ramps, reading r and writing w bytes beside S others takes (r + w) (1 + h / (S + w + r)) bytes' time.

    Its second derivative in r is at most 2 h (S + w) / (S + w + r)^3, so by Taylor a mean over r is off the value at the mean
    by at most half of that times Var(r). For a lone request S is 0 and w alone is left.
    """
    cost = priced(name, 1000, 100, concurrency=in_flight)
    given, made = sums(cost, 1000, 100)
    assert given == pytest.approx(owed(cost, "input"), rel=1e-12 if name != "latent" else 1e-4)
    batch = Batch(cost.deployment, cost.operating.state, cost.operating.moments)
    slack = 0.0
    context = 1000.0 + np.arange(99.0)
    for op in batch.attention:
        read, written = (
            op.attention.read_bytes(1.0, context, op.kv, op.tp),
            op.attention.written_bytes(1.0, op.kv, op.tp),
        )
        for kind, chance in batch.decoding:
            others, _ = batch.decodes_of(op, kind)
            per_byte = op.count / (op.bandwidth * op.decode.bandwidth)
            ramp = op.decode.bytes_half * (others + written) / (others + written + read.min()) ** 3 * read.var()
            slack += chance * float(ramp) * per_byte * 99
    unit = cost.deployment.split.tp * cost.rate.usd_per_second  # type: ignore[union-attr]
    assert abs(made - owed(cost, "output")) <= slack * unit + 1e-12 * made


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("tokens", "output"), [(1000, 100), (40_000, 50)])
def test_positions_sum_to_a_request_of_any_model(name: str, tokens: int, output: int) -> None:
    """Long prompts come in chunks, of which the closed form takes the mean one; a top k bends between them: under 1%."""
    cost = priced(name, tokens, output)
    assert sums(cost, tokens, output) == pytest.approx((owed(cost, "input"), owed(cost, "output")), rel=0.01)


def test_positions_of_a_trace_average_to_its_prices() -> None:
    """Weighted by how often each position occurs; what bends is the chunk's read, a small part."""
    random = np.random.default_rng(3)
    lengths = Lengths(np.round(random.lognormal(6.0, 0.8, 400)), np.round(random.lognormal(4.0, 0.8, 400)) + 1)
    cost = price_deployment(maker.deploy(), Workload(lengths=lengths, concurrency=40), rent(2.5))
    given = cost.at(input=np.arange(1, int(lengths.input.max()) + 1)).value
    upto = np.concatenate(([0.0], np.cumsum(given)))
    assert upto[lengths.input.astype(int)].mean() == pytest.approx(owed(cost, "input"), rel=5e-3)
    made = [float(cost.at(output=np.arange(1, int(o) + 1), input=int(i)).value.sum())
            for i, o in zip(lengths.input, lengths.output, strict=True)]  # fmt: skip
    assert np.mean(made) == pytest.approx(owed(cost, "output"), rel=5e-3)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["dense", "moe", "recurrent"]), st.integers(1, 3000), st.integers(2, 300), st.floats(1, 300),
    st.sampled_from([0.0, 0.25]), st.booleans(), st.sampled_from([Split(), Split(tp=2, pp=2), Split(tp=2, dp=2)]),
)  # fmt: skip
def test_positions_sum_to_a_request_over_random_scenarios(
    name: str, tokens: int, output: int, in_flight: float, cached: float, mixed: bool, split: Split
) -> None:
    """Prompts of one chunk, engines that mix prompts with decodes and ones that do not: to the ramps' curvature."""
    d = maker.deploy(maker.KINDS[name](), split, engine=replace(maker.profile(), mixed=mixed))
    tokens -= tokens % 4 if tokens > 4 else 0  # a prefix of whole tokens
    workload = Workload(input=tokens, output=output, concurrency=in_flight, cached=cached if tokens > 4 else 0.0)
    cost = price_deployment(d, workload, rent(2.5))
    expected = owed(cost, "input") + owed(cost, "output")
    rel = 2e-4 if output >= 8 else 1e-3  # answers of a few steps curve most
    assert sum(sums(cost, tokens, output)) == pytest.approx(expected, rel=rel)
    assert sum(sums(cost, tokens, output, view="long-run")) == pytest.approx(expected, rel=rel)


@pytest.mark.parametrize("mode", [{"load": 0.4}, {"rps": 2.0}])
def test_positions_sum_to_a_request_at_a_rate(mode: dict[str, float]) -> None:
    for basis in ("usage", "allocation"):
        workload = Workload(input=1000, output=100, **mode)  # type: ignore[arg-type]
        cost = price_deployment(maker.deploy(), workload, rent(2.5), basis=basis)
        assert sum(sums(cost, 1000, 100)) == pytest.approx(cost.per_request.value, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("view", VIEWS)
def test_occupants_pay_what_readers_do(name: str, view: str) -> None:
    cost = priced(name, 700, 60)
    by_reader = sum(sums(cost, 700, 60, view=view))
    assert sum(sums(cost, 700, 60, view=view, who="occupant")) == pytest.approx(by_reader, rel=1e-9)


def test_with_a_prefix_cache_the_found_positions_pay_for_being_read() -> None:
    cost = priced("dense", 700, 60, cached=0.5)
    by_reader = sum(sums(cost, 700, 60))
    computed = sum(sums(cost, 700, 60, who="occupant"))
    found = cost.at(input=np.arange(1, 351), who="occupant")
    reads = sum(found.parts[part].sum() for part in ("kv", "attention") if part in found.parts)
    assert computed + float(reads) == pytest.approx(by_reader, rel=1e-9)
    assert float(reads) > 0


def test_under_occupant_pays_an_input_token_gets_cheaper_along_the_prompt() -> None:
    cost = priced("dense", 4000, 400)
    n = np.arange(1, 4001)
    read, held = cost.at(input=n), cost.at(input=n, who="occupant")
    assert np.all(np.diff(read.value) > 0) and np.all(np.diff(held.value) < 0)
    assert set(read.parts) == set(held.parts)
    flat = [part for part in read.parts if part not in ("kv", "attention")]
    for part in flat:  # FLOP and bytes of attention move together, and nothing else does
        assert held.parts[part] == pytest.approx(read.parts[part])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_flight", [1, 8, 200])
def test_fair_is_at_most_alone_in_operations_that_carry_weights(name: str, in_flight: int) -> None:
    batch = Batch(*_around(priced(name, 1000, 100, concurrency=in_flight)))
    for fair, alone in (
        (Fair(batch).flat_input(), Alone(batch).flat_input()),
        (Fair(batch).flat_output(), Alone(batch).flat_output()),
        (Fair(batch).first_output(), Alone(batch).first_output()),
    ):
        carried = ("weights", "compute", "padding", "activations")
        assert sum(fair.get(p, 0.0) for p in carried) <= sum(alone.get(p, 0.0) for p in carried) * (1 + 1e-9)


def _around(cost: Cost) -> tuple[object, ...]:
    return cost.deployment, cost.operating.state, cost.operating.moments


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_flight", [1, 8, 200])
def test_marginals_of_a_step_sum_to_less_than_it_takes(name: str, in_flight: int) -> None:
    cost = priced(name, 1000, 100, concurrency=in_flight)
    marginal, fair = sum(sums(cost, 1000, 100, view="marginal")), sum(sums(cost, 1000, 100))
    assert 0 < marginal < fair
    if in_flight < 10:  # negative control: they are no way to share a bill
        assert marginal < 0.5 * fair


def test_one_more_token_is_what_a_longer_step_takes() -> None:
    cost = priced("moe", 1000, 100, concurrency=30)
    batch = Batch(*_around(cost))  # type: ignore[arg-type]
    view, context = Marginal(batch), 3000.0
    found = total(view.flat_output()) + sum(total(view.read_output(op, context)) for op in batch.attention)
    expected = 0.0
    for kind, chance in batch.decoding:
        longer = Step((*kind.step.decodes, Decode(1.0, context)), kind.step.prefill, kind.step.finishing)
        after = sum(float(op.seconds) for op in cost.deployment.run(longer))
        expected += chance * (after - float(kind.seconds))
    assert float(found) == pytest.approx(expected, rel=1e-8)


def test_a_marginal_is_no_floor_for_the_fair_share() -> None:
    """Far down a prompt a token adds more than its fair share of a chunk whose read the others help to pay."""
    cost = priced("dense", 2000, 100, concurrency=200)
    deep = {view: cost.at(input=2000, view=view).parts["attention"] for view in ("fair", "marginal")}
    assert deep["fair"] < deep["marginal"]


def test_alone_is_a_step_for_one_token() -> None:
    cost = priced("dense", 1000, 100)
    d = cost.deployment
    step = sum(float(op.seconds) for op in d.run(Step((Decode(1.0, 5000.0),))))
    found = cost.at(output=4002, input=1000, view="alone")
    assert found.value == pytest.approx(step * d.split.tp * cost.rate.usd_per_second, rel=1e-12)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", NAMES)
def test_cost_rises_with_position_unless_attention_is_bounded(name: str) -> None:
    cost = priced(name, 1000, 100)
    n = np.array([1, 10, 100, 1000, 10_000, 100_000, 1_000_000])
    for at in (cost.at(input=n), cost.at(output=n + 1, input=1)):
        assert np.all(np.isfinite(at.value)) and np.all(at.value > 0)
        assert np.all(np.diff(at.value) >= -1e-9 * at.value[0])
        assert sum(at.parts.values()) == pytest.approx(at.value, rel=1e-12)
        assert set(at.parts) <= set(PARTS)
        assert np.all(at.low <= at.value) and np.all(at.value <= at.high)
        assert all(np.all(part >= 0) for part in at.parts.values())


def test_limits_of_a_lone_decode_on_the_bare_roofline() -> None:
    """At batch 1 all but attention is the weight read, and the cache read is bytes over bandwidth."""
    cost = priced("dense", 1000, 100, bare=True, concurrency=1)
    d, state = cost.deployment, cost.operating.state
    found = Positions(Batch(d, state, cost.operating.moments), "batch").output(np.array([2.0, 50_002.0]), 1.0)
    (op,) = (op for op in d.plan if isinstance(op, AttentionOp))
    bytes_ = op.count * (op.attention.read_bytes(1.0, 50_001.0, op.kv, 2) - op.attention.read_bytes(1.0, 1.0, op.kv, 2))
    assert found["kv"][1] - found["kv"][0] == pytest.approx(float(bytes_) / d.accelerator.bandwidth.value, rel=1e-12)


def test_arithmetic_doubles_where_the_formula_says() -> None:
    """n* = N / (2 L H d): the FLOP of a token's attention equal those of its products with weights."""
    d = maker.deploy(maker.llama_3_70b(), Split(tp=8))
    cost = price_deployment(d, Workload(input=1000, output=100, concurrency=8), rent(2.5))
    batch = Batch(*_around(cost))  # type: ignore[arg-type]
    body = d.model.matmul_parameters - d.model.embedding_parameters  # an input token does not pass the head
    expected = body / (2 * 80 * 64 * 128)

    def surplus(n: np.ndarray) -> np.ndarray:
        attention, rest = input_flop(batch, n)
        return attention - rest

    assert first(surplus, 10_000_000.0) == pytest.approx(expected, rel=1e-3)
    assert expected == pytest.approx(53e3, rel=0.02)
    assert first(surplus, 10_000.0) is None


def test_time_doubles_earlier_where_products_run_faster_than_attention() -> None:
    """n* (P_attention / P_products): with weights in fp8 at twice the peak, half as far along, once arithmetic binds."""
    d = maker.bare(maker.llama_3_70b(), Split(tp=8), weights="fp8")
    cost = price_deployment(d, Workload(input=8000, output=100, concurrency=8), rent(2.5))
    found = positions(d, cost.operating)

    def surplus(n: np.ndarray) -> np.ndarray:
        parts = found.input(n)
        return share(parts, ATTENTION) - share(parts, PRODUCTS)

    body = d.model.matmul_parameters - d.model.embedding_parameters
    assert first(surplus, 10_000_000.0) == pytest.approx(body / (2 * 80 * 64 * 128) / 2.0, rel=0.02)


def test_the_mean_of_a_curve_is_exact_between_straight_pieces() -> None:
    n = np.array([1.0, 2.0, 7.0, 20.0])
    every = np.interp(np.arange(1, 21), n, n**2)
    assert mean_upto(n, n**2) == pytest.approx([every[: int(k)].mean() for k in n], rel=1e-12)


def test_arrays_equal_single_positions_and_numbers_stay_numbers() -> None:
    cost = priced("windowed", 1000, 100)
    n = np.array([1, 600, 90_000])
    for view in VIEWS:
        for who in ("reader", "occupant"):
            many = cost.at(input=n, view=view, who=who)
            for i, one in enumerate(n):
                single = cost.at(input=int(one), view=view, who=who)
                assert isinstance(single.value, float)
                assert single.value == pytest.approx(many.value[i], rel=1e-9)
    assert cost.at(input=7).per_million.value == pytest.approx(1e6 * cost.at(input=7).value)


def test_without_a_rate_the_answer_is_in_seconds() -> None:
    priced_, bare = priced("dense", 1000, 100), maker.deploy(maker.dense(), Split(tp=2))
    cost = price_deployment(bare, Workload(input=1000, output=100, concurrency=40), None, rate_missing="no rent")
    found = cost.at(input=11)
    assert found.unit == "accelerator-s"
    assert found.value * rent(2.5).usd_per_second == pytest.approx(priced_.at(input=11).value)


def test_the_allocation_basis_spreads_idle_time_over_fair_shares_only() -> None:
    d = maker.deploy()
    costs = [
        price_deployment(d, Workload(input=1000, output=100, concurrency=8), rent(2.5), 0.5, basis)
        for basis in ("usage", "allocation")
    ]
    fair, marginal = ([c.at(input=11, view=view).value for c in costs] for view in ("fair", "marginal"))
    assert fair[1] == pytest.approx(2 * fair[0])
    assert marginal[1] == pytest.approx(marginal[0])


@pytest.mark.parametrize(
    "wrong",
    [0, -1, 1.5, float("nan"), float("inf"), maker.LIMIT + 1, "x", None, [], [1, 0], 10**400, 1j, {}, [[1], [1, 2]]],
)
def test_positions_that_are_none_get_a_sentence(wrong: object) -> None:
    cost = priced("dense", 1000, 100)
    with pytest.raises(PertokenError, match="position"):
        cost.at(input=wrong)
    if wrong is not None:
        with pytest.raises(PertokenError, match="position"):
            cost.at(output=wrong, input=10)


def test_other_bad_questions_get_a_sentence() -> None:
    cost = priced("dense", 1000, 100)
    with pytest.raises(PertokenError, match="less the input"):
        cost.at(output=maker.LIMIT, input=2)
    with pytest.raises(PertokenError, match="together pass"):
        cost.at(output=[100, 5], input=[maker.LIMIT - 50, 10])
    with pytest.raises(PertokenError, match="--view is 'x'"):
        cost.at(input=1, view="x")
    with pytest.raises(PertokenError, match="--who is 'y'"):
        cost.at(input=1, who="y")
    with pytest.raises(PertokenError, match="10,000,000"):
        cost.at(input=np.ones(MOST_POSITIONS + 1))
    lone = priced("dense", 1000, 1)
    assert lone.at(output=1).value > 0
    with pytest.raises(PertokenError, match="one output token"):
        lone.at(output=2)


def test_a_million_positions_answer_in_one_call() -> None:
    cost = priced("dense", 1000, 100)
    found = cost.at(input=np.arange(1, 1_000_001))
    assert found.value.shape == (1_000_000,)
    assert positions(cost.deployment, cost.operating).input(np.array([5.0]))["compute"].shape == (1,)
    assert pt.Cost is Cost
