"""The ledger of a steady state: it sums to the step, charges readers, and its bounds enclose it."""

from __future__ import annotations

import pytest

from pertoken.attribution.ledger import PARTS, TOKENS, by_token, ledger
from pertoken.engine.parallel import Split
from pertoken.serving.lengths import Lengths
from pertoken.serving.steady import least_finished, most_finished, steady
from tests import maker

NAMES = sorted(maker.KINDS)


def state_of(
    name: str, share: float, *, input_tokens: float = 1000.0, output: float = 100.0, cached: float = 0.3
) -> object:
    d = maker.deploy(maker.KINDS[name](), Split(tp=2))
    moments = Lengths.fixed(input_tokens, output).moments(cached, 1 if d.model.linear_in_context else 8)
    low, high = least_finished(d, moments), most_finished(d, moments) * (1 - 1e-9)
    return steady(d, moments, low ** (1 - share) * high**share)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
@pytest.mark.parametrize("output", [1.0, 2.0, 100.0])
def test_entries_sum_to_the_mean_step(name: str, share: float, output: float) -> None:
    state = state_of(name, share, output=output)
    entries = ledger(state)  # type: ignore[arg-type]
    assert sum(float(e.seconds) for e in entries) == pytest.approx(float(state.step_s), rel=1e-11)  # type: ignore[attr-defined]
    assert all(float(e.seconds) >= 0.0 for e in entries)
    assert {e.token for e in entries} <= set(TOKENS)
    assert {e.part for e in entries} <= set(PARTS)


@pytest.mark.parametrize("name", NAMES)
def test_bounds_enclose_the_value_for_each_kind_of_token(name: str) -> None:
    state = state_of(name, 0.5)
    low, value, high = (by_token(ledger(state, case)) for case in ("low", "value", "high"))  # type: ignore[arg-type]
    for token in TOKENS:
        assert float(low[token]) <= float(value[token]) <= float(high[token])
    assert float(low["output"]) < float(value["output"]) < float(high["output"])


def test_only_latent_attention_charges_cached_tokens() -> None:
    for name in NAMES:
        owed = float(by_token(ledger(state_of(name, 0.5, input_tokens=4000.0)))["cached"])  # type: ignore[arg-type]
        assert (owed > 0) == (name == "latent"), name


def test_a_token_pays_for_its_own_cache_read() -> None:
    entries = ledger(state_of("dense", 0.5))  # type: ignore[arg-type]
    assert not [e for e in entries if e.name == "decode_attention" and e.token == "input" and float(e.seconds)]
    assert not [e for e in entries if e.name == "prefill_attention" and e.token == "output" and float(e.seconds)]
    assert not [e for e in entries if e.name in ("head", "sampling") and e.token == "input" and float(e.seconds)]
