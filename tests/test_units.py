"""Units: GB is not GiB, texts round-trip, bad texts get a sentence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken import units
from pertoken.errors import PertokenError

PARSERS = (units.parse_bytes, units.parse_count, units.parse_seconds)


def test_gb_is_not_gib() -> None:
    assert units.parse_bytes("80GB") == 80e9
    assert units.parse_bytes("80GiB") == 80 * 2**30
    assert units.parse_bytes("80 gib") - units.parse_bytes("80 gb") == pytest.approx(5.9e9, rel=0.01)
    assert units.parse_bytes("1TiB") == 2**40
    assert units.parse_bytes("1TB") == 10**12
    assert units.GIGA == 10**9
    assert units.GIBI == 2**30


def test_bandwidths_are_bytes_per_second() -> None:
    assert units.parse_bytes("50GB/s") == 50e9
    assert units.parse_bytes("3.35TB/s") == pytest.approx(3.35e12)


@pytest.mark.parametrize("text", ["400Gb", "400Gb/s", "10Mb/s", "1Tb", "8Gib"])
def test_bits_are_not_taken_for_bytes(text: str) -> None:
    with pytest.raises(PertokenError, match="bits"):
        units.parse_bytes(text)


def test_counts_are_decimal() -> None:
    assert units.parse_count("8k") == 8000.0
    assert units.parse_count("8192") == 8192.0
    assert units.parse_count("1.5M") == 1.5e6
    assert units.parse_count("8,192") == 8192.0
    assert units.parse_count("1e3") == 1000.0


def test_times() -> None:
    assert units.parse_seconds("50ms") == pytest.approx(0.05)
    assert units.parse_seconds("2s") == units.parse_seconds("2") == 2.0
    assert units.parse_seconds("1.5h") == 5400.0
    assert units.per_second(3600.0) == 1.0
    assert pytest.approx(30.4375 * 86400) == units.MONTH
    assert units.JOULES_PER_KWH == 3.6e6


@settings(deadline=None)
@given(
    st.floats(1e-3, 1e6), st.sampled_from([("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("KiB", 2.0**10), ("GiB", 2.0**30)])
)
def test_bytes_round_trip(value: float, unit: tuple[str, float]) -> None:
    assert units.parse_bytes(f"{value:.12f}{unit[0]}") == pytest.approx(value * unit[1], rel=1e-8)


@settings(deadline=None)
@given(st.floats(1.0, 1e15))
def test_formatted_bytes_read_back(value: float) -> None:
    assert units.parse_bytes(units.format_bytes(value)) == pytest.approx(value, rel=0.5 if value < 10 else 0.06)


@settings(deadline=None)
@given(st.floats(1e-9, 1e5))
def test_formatted_seconds_read_back(value: float) -> None:
    assert units.parse_seconds(units.format_seconds(value)) == pytest.approx(value, rel=6e-3)


@settings(deadline=None)
@given(st.floats(1e-9, 1e9))
def test_money_keeps_enough_digits_to_compare(usd: float) -> None:
    shown = units.format_money(usd)
    assert shown[0] == "$"
    assert float(shown[1:].replace(",", "")) == pytest.approx(usd, rel=6e-3)


def test_money_and_rates_read_well() -> None:
    assert units.format_money(0.0) == "$0.00"
    assert units.format_money(float("nan")) == "unknown"
    assert units.format_money(12.345) == "$12.35" or units.format_money(12.345) == "$12.34"
    assert units.format_money(0.0123) == "$0.0123"
    assert units.format_money(12_345.6) == "$12,346"
    assert units.format_rate(989.4e12, "FLOP/s") == "989.4 TFLOP/s"
    assert units.format_bytes(80e9) == "80.0 GB"
    assert units.format_seconds(0.0132) == "13.2 ms"


BAD = [
    "", " ", "x", "GB", "-5", "5 parsecs", "1.2.3", "5GBGB", "nan", "inf", "1e999", "5//s", "٣", "0x10", "5 G B", "--", "1e",
    ".5.", "9e300TB",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("parse", PARSERS)
def test_bad_texts_get_a_sentence(parse: object, text: str) -> None:
    with pytest.raises(PertokenError, match="such as"):
        parse(text, "--thing")  # type: ignore[operator]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=30), st.from_regex(r"[0-9.,_e+-]{0,8} ?[kKMGTiBbs/]{0,5}", fullmatch=True)))
def test_any_text_is_a_finite_number_or_a_sentence(text: str) -> None:
    for parse in PARSERS:
        try:
            value = parse(text)
        except PertokenError:
            continue
        assert math.isfinite(value)
        assert value >= 0.0


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.012345, 3, "0.0123"), (999.4, 3, "999"), (3478.2, 3, "3,478"), (62257.0, 4, "62,257")],
)
def test_numbers_have_commas_and_no_exponent(value: float, digits: int, text: str) -> None:
    assert units.format_number(value, digits) == text
