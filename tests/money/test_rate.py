"""Rates: units, and refusals that say the range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertoken.errors import PertokenError
from pertoken.money.rate import Rate, power, rent
from tests import maker


@given(st.floats(1e-6, 1e4))
def test_rent_is_per_hour(usd: float) -> None:
    assert rent(usd).usd_per_second * 3600 == pytest.approx(usd, rel=1e-12)


def test_power_is_watts_times_price() -> None:
    rate = power(0.12, maker.accelerator(watts=700.0))
    assert rate.usd_per_second * 3600 == pytest.approx(0.7 * 0.12)
    assert rate.kind == "power"
    assert rate.fixed_usd_per_second == 0.0
    assert rate.drawing(350.0).usd_per_second == pytest.approx(rate.usd_per_second / 2)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 1e5])
def test_rates_out_of_range_get_a_sentence(value: float) -> None:
    with pytest.raises(PertokenError, match="at most"):
        rent(value)
    with pytest.raises(PertokenError, match="at most"):
        power(value, maker.accelerator())
    with pytest.raises(PertokenError, match="at most"):
        Rate(value, "x")


def test_power_needs_a_published_figure() -> None:
    with pytest.raises(PertokenError, match="no board power"):
        power(0.12, maker.accelerator(watts=None))
