"""Tariffs charge what vendors do: cached tokens once, cliffs on the whole request, cache writes, batches."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from genai_prices import Usage, data
from hypothesis import given
from hypothesis import strategies as st

from pertoken.errors import PertokenError
from pertoken.market.offers import BATCH, noon, offer_of
from pertoken.market.tariff import Prices, Requests, Tariff, Tier, from_lengths
from pertoken.serving.columns import added, pick
from pertoken.serving.lengths import Lengths

DAY = dt.date(2026, 11, 25)
PRICES = Prices(3e-6, 15e-6, cached=0.3e-6, written=3.75e-6)
TIERED = Tariff(PRICES, (Tier(200_000.0, PRICES.scaled(2.0)),))
TOKENS = st.integers(0, 400_000)


def requests(*rows: tuple[float, float, float, float]) -> Requests:
    """Requests from rows of input, cached, written and output."""
    a, b, c, d = np.array(rows, dtype=float).T
    return Requests(a, d, b, c)


@pytest.mark.parametrize("provider", data.providers, ids=lambda p: p.id)
def test_offers_charge_what_the_list_computes(provider: Any) -> None:
    """The list's own calculation, request by request: its usage counts cached and written tokens inside the input."""
    rows = [(1000, 0, 0, 100), (150_000, 100_000, 20_000, 700), (200_001, 0, 1, 10), (600_000, 599_999, 0, 5)]
    for model in provider.models:
        offer = offer_of(provider, model, DAY, "list")
        for tariff, context in ((offer and offer.tariff, None), (offer and offer.batch, BATCH)):
            listed = model.get_prices(noon(DAY), context)
            for i, (tokens, cached, written, output) in enumerate(rows if tariff else ()):
                usage = Usage(
                    input_tokens=tokens, output_tokens=output, cache_read_tokens=cached, cache_write_tokens=written,
                    **({"output_reasoning_tokens": 0} if listed.output_reasoning_mtok else {}),
                )  # fmt: skip
                wanted = float(listed.calc_price(usage)["total_price"])
                assert tariff.charge(requests(*rows))[i] == pytest.approx(wanted, rel=1e-12, abs=1e-15), model.id


# what each vendor's report counts, as it names the fields, and the tokens meant: input, cached, written, output
REPORTS = (
    ("anthropic", "default", {"usage": {"input_tokens": 100, "cache_read_input_tokens": 800, "cache_creation_input_tokens": 100,
     "output_tokens": 50}}, "usage"),
    ("aws", "default", {"usage": {"inputTokens": 100, "cacheReadInputTokens": 800, "cacheWriteInputTokens": 100,
     "outputTokens": 50}}, "usage"),
    ("cursor", "usage-event", {"tokenUsage": {"inputTokens": 100, "cacheReadTokens": 800, "cacheWriteTokens": 100,
     "outputTokens": 50}}, "tokenUsage"),
    ("openai", "chat", {"usage": {"prompt_tokens": 1000, "completion_tokens": 50, "cached_tokens": 800,
     "prompt_tokens_details": {"cached_tokens": 800}}}, "usage"),
    ("anthropic", "chat", {"usage": {"prompt_tokens": 1000, "cached_tokens": 800, "completion_tokens": 50}}, "usage"),
    ("databricks", "chat", {"usage": {"prompt_tokens": 1000, "cache_read_input_tokens": 800, "completion_tokens": 50}}, "usage"),
    ("google", "default", {"usageMetadata": {"promptTokenCount": 1000, "cachedContentTokenCount": 800, "candidatesTokenCount": 20,
     "thoughtsTokenCount": 30}}, "usageMetadata"),
)  # fmt: skip


@pytest.mark.parametrize(("vendor", "flavour", "report", "root"), REPORTS)
def test_cached_tokens_are_counted_once_whatever_the_vendor_reports(
    vendor: str, flavour: str, report: Any, root: str
) -> None:
    provider = next(p for p in data.providers if p.id == vendor)
    _, usage = provider.extract_usage(report, api_flavor=flavour)
    flat = {name: value for name, value in report[root].items() if not isinstance(value, dict)}
    at, row = pick(list(flat), "report"), [str(value) for value in flat.values()]
    found = {
        name: added(row, places, name, 1, "report", (0, 1e9))
        for name, places in (("input", at.input), ("cached", at.cached), ("written", at.written), ("output", at.output))
    }
    assert found["input"] == usage.input_tokens == 1000
    assert found["cached"] == usage.cache_read_tokens == 800
    assert found["output"] == usage.output_tokens == 50
    assert found["written"] == usage.cache_write_tokens


def test_deepseek_reports_hits_and_misses_inside_its_prompt() -> None:
    at = pick(["prompt_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "completion_tokens"], "report")
    assert (at.input, at.cached, at.output) == ((0,), (1,), (3,))
    apart = pick(["prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "completion_tokens"], "report")
    assert (set(apart.input), apart.cached) == ({0, 1}, (0,))


def test_counting_cached_tokens_beside_the_input_is_another_price() -> None:
    """Negative control: taking Anthropic's input for the whole input is noticed."""
    right = Tariff(PRICES).charge(requests((1000, 800, 100, 50)))
    wrong = Tariff(PRICES).charge(requests((1900, 800, 100, 50)))
    assert wrong[0] > 1.5 * right[0]
    with pytest.raises(PertokenError, match="counted once"):
        requests((100, 800, 100, 50))


def test_a_cliff_is_on_the_whole_request_and_a_margin_beyond() -> None:
    rows = requests((200_000, 0, 0, 10), (200_001, 0, 0, 10))
    below, above = TIERED.charge(rows)
    assert above / below == pytest.approx(2.0, rel=1e-4)
    gentle = Tariff(TIERED.base, TIERED.tiers, marginal=True).charge(rows)
    assert gentle[1] - gentle[0] == pytest.approx(6e-6, rel=1e-6)
    assert below < gentle[0] < above  # its output is beyond the threshold


@given(st.lists(st.tuples(TOKENS, st.floats(0, 1), st.floats(0, 1), TOKENS), min_size=1, max_size=20))
def test_tariffs_are_linear_where_they_have_no_tiers(rows: list[tuple[int, float, float, int]]) -> None:
    made = [(i, np.floor(i * c), np.floor((i - np.floor(i * c)) * w), o) for i, c, w, o in rows]
    r = requests(*made)
    paid = Tariff(PRICES, (Tier(1e9, PRICES),)).charge(r)
    wanted = r.cached * 0.3e-6 + r.written * 3.75e-6 + r.fresh * 3e-6 + r.output * 15e-6
    assert paid == pytest.approx(wanted, rel=1e-12)
    assert Tariff(PRICES).charge(r) == pytest.approx(wanted, rel=1e-12)
    flat = Tariff(PRICES, (Tier(1000.0, PRICES),), marginal=True)
    assert flat.charge(r) == pytest.approx(wanted, rel=1e-12)
    assert np.all(
        Tariff(TIERED.base, TIERED.tiers, marginal=True).charge(r) <= TIERED.charge(r) * (1 + 1e-12) + 15e-6 * r.output
    )
    assert TIERED.scaled(3.0).charge(r) == pytest.approx(3.0 * TIERED.charge(r), rel=1e-12)


def test_a_batch_pays_its_share() -> None:
    r = requests((1000, 0, 0, 10), (1000, 0, 0, 10))
    paid = Tariff(PRICES, batch=0.5).charge(r, np.array([False, True]))
    assert paid[1] == pytest.approx(paid[0] / 2) and Tariff(PRICES, batch=0.5).charge(r) == pytest.approx(paid[0])
    with pytest.raises(PertokenError, match="a batch pays 0 of the price"):
        Tariff(PRICES, batch=0.0)


def test_prices_that_are_not_listed_follow_the_input() -> None:
    assert Prices(2.0e-6, 4.0e-6).kinds == (2e-6, 2e-6, 2e-6, 4e-6)
    paid = Tariff(Prices(0.0, 0.0, request=0.01)).charge(requests((10, 0, 0, 1), (99, 9, 0, 1)))
    assert paid.tolist() == [0.01, 0.01]


def test_lengths_bring_their_cached_tokens() -> None:
    lengths = Lengths(np.array([100.0, 10.0]), np.array([5.0, 5.0]), found=np.array([60.0, 10.0]))
    r = from_lengths(lengths, cached=0.9, written=0.5)
    assert np.asarray(r.cached).tolist() == [60.0, 9.0]  # one token is always computed
    assert np.asarray(r.written).tolist() == [20.0, 0.5]
    assert np.asarray(from_lengths(Lengths.fixed(100, 5), 0.25).cached).tolist() == [25.0]


@pytest.mark.parametrize("bad", [{"input": -1e-6}, {"output": float("nan")}, {"cached": 2.0}, {"request": -1.0}])
def test_bad_prices_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(PertokenError, match="price of"):
        Prices(**{"input": 1e-6, "output": 1e-6} | bad)


@pytest.mark.parametrize("above", [[2.0, 1.0], [1.0, 1.0], [-1.0], [float("nan")], [float("inf")]])
def test_bad_thresholds_are_refused(above: list[float]) -> None:
    with pytest.raises(PertokenError, match="thresholds must be finite, rise and differ"):
        Tariff(PRICES, tuple(Tier(a, PRICES) for a in above))


@pytest.mark.parametrize("name", ["input", "output", "cached", "written"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_bad_counts_are_refused(name: str, value: float) -> None:
    counts = {"input": np.array([10.0]), "output": np.array([1.0]), "cached": 0.0, "written": 0.0} | {
        name: np.array([value])
    }
    with pytest.raises(PertokenError, match="finite numbers from 0"):
        Requests(**counts)
