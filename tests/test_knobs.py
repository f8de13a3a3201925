"""Knobs: every one refuses what it cannot take, in a sentence that names its flag."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS, read_knobs

NUMBERS = [k for k in KNOBS.values() if k.kind not in ("text", "choice")]
ANYTHING = st.one_of(
    st.text(max_size=40), st.integers(), st.floats(), st.booleans(), st.none(), st.binary(max_size=5),
    st.lists(st.integers(), max_size=3), st.complex_numbers(), st.just(10**400), st.just("9" * 400),
    st.from_regex(r"-?[0-9_.,e]{1,8}(k|M|ms|s|GB|GiB|%)?", fullmatch=True),
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(KNOBS))
def test_each_knob_describes_itself(name: str) -> None:
    knob = KNOBS[name]
    assert knob.name == name
    assert knob.doc.endswith(".")
    assert knob.group in ("model", "machine", "traffic", "money")
    assert knob.kind in ("text", "whole", "number", "count", "bytes", "seconds", "choice")
    assert (knob.kind == "choice") == bool(knob.choices)
    if knob in NUMBERS:
        assert math.isfinite(knob.low)
        assert math.isfinite(knob.high)
        assert knob.low < knob.high


@pytest.mark.parametrize("knob", NUMBERS, ids=lambda k: k.name)
def test_both_ends_of_the_range_are_taken_and_beyond_is_refused(knob: Any) -> None:
    for value in (knob.low, knob.high):
        assert knob.read(value) == value
        assert knob.read(repr(value)) == value
    for value in (knob.low * (1 - 1e-6) - 1e-12, knob.high * (1 + 1e-6) + 1e-12, -1, 1e300, -1e300):
        for given_ in (value, repr(value)):
            with pytest.raises(PertokenError, match=knob.flag):
                knob.read(given_)


@pytest.mark.parametrize("knob", NUMBERS, ids=lambda k: k.name)
@pytest.mark.parametrize(
    "junk",
    [math.nan, math.inf, -math.inf, "nan", "inf", "-inf", True, False, None, [], {}, b"1", 1j, "", " ", "abc", "1e999", 10**400,
     "9" * 400, "1 2", "--", "0x10", "1;2", "\x00"],
)  # fmt: skip
def test_junk_gets_a_sentence_with_the_flag(knob: Any, junk: object) -> None:
    with pytest.raises(PertokenError, match=knob.flag) as caught:
        knob.read(junk)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("knob", [k for k in KNOBS.values() if k not in NUMBERS], ids=lambda k: k.name)
@pytest.mark.parametrize("junk", [True, None, [], {}, b"1", "", "   ", "x" * 5000])
def test_texts_are_texts(knob: Any, junk: object) -> None:
    with pytest.raises(PertokenError, match=knob.flag):
        knob.read(junk)


@pytest.mark.parametrize("knob", [k for k in KNOBS.values() if k.kind == "whole"], ids=lambda k: k.name)
@pytest.mark.parametrize("value", [1.5, "1.5", "2.0001"])
def test_whole_numbers_are_whole(knob: Any, value: object) -> None:
    with pytest.raises(PertokenError, match="whole number"):
        knob.read(value)
    assert isinstance(knob.read("2"), int)
    assert knob.read(2.0) == 2


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(KNOBS)), ANYTHING)
def test_anything_is_a_value_in_range_or_a_sentence(name: str, value: object) -> None:
    knob = KNOBS[name]
    try:
        found = knob.read(value)
    except PertokenError as error:
        assert knob.flag in str(error)
        return
    if knob in NUMBERS:
        assert knob.low <= found <= knob.high
    else:
        assert isinstance(found, str)
        assert found.strip() == found
        assert found


def test_units_are_read() -> None:
    assert read_knobs({"ttft": "500ms", "network": "50GB/s", "token-budget": "8k", "tp": "8", "cached": "0.5"}) == {
        "ttft": 0.5, "network": 50e9, "token_budget": 8000.0, "tp": 8, "cached": 0.5,
    }  # fmt: skip


def test_none_is_not_given_and_unknown_names_are_refused() -> None:
    assert read_knobs({"tp": None}) == {}
    for name in ("gpu", "", "tp\n", 3):
        with pytest.raises(PertokenError, match="is no knob"):
            read_knobs({name: 1})  # type: ignore[dict-item]
