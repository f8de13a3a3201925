"""Prefix caches: hits by block hashes, least recently used blocks out first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertoken.errors import PertokenError
from pertoken.serving.prefixes import BLOCK, PrefixCache, from_ranges, ranges

PROMPTS = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True), min_size=1, max_size=30)


@given(st.lists(st.integers(0, 10_000), max_size=60))
def test_ranges_are_read_back(blocks: list[int]) -> None:
    assert from_ranges(ranges(blocks), 60) == blocks


def test_ranges_are_short() -> None:
    assert ranges([0, 3, 4, 5, 9]) == "0 3-5 9"


@pytest.mark.parametrize("text", ["x", "1-", "-1", "3-1", "1.5", "0-99999999999", "1 2 3 4", "²"])
def test_bad_ranges_are_refused(text: str) -> None:
    with pytest.raises(PertokenError, match="blocks"):
        from_ranges(text, 3)


@given(PROMPTS)
def test_an_endless_cache_has_what_it_saw(prompts: list[list[int]]) -> None:
    cache, seen = PrefixCache(), set[int]()
    for prompt in prompts:
        hits = next((i for i, block in enumerate(prompt) if block not in seen), len(prompt))
        length = len(prompt) * BLOCK
        assert cache.find(prompt, length) == min(hits * BLOCK, length - 1)
        seen.update(prompt)


@given(PROMPTS, st.integers(1, 6))
def test_a_small_cache_is_least_recently_used(prompts: list[list[int]], most: int) -> None:
    """Against a plain list: the head of a prompt is younger than its tail."""
    cache, kept = PrefixCache(most * BLOCK + 7), list[int]()
    for prompt in prompts:
        hits = next((i for i, block in enumerate(prompt) if block not in kept), len(prompt))
        assert cache.find(prompt, 1e6) == hits * BLOCK
        for block in reversed(prompt):
            kept = [b for b in kept if b != block] + [block]
        kept = kept[-most:]


@given(PROMPTS)
def test_a_larger_cache_finds_no_less_in_all(prompts: list[list[int]]) -> None:
    found = [
        sum(cache.find(p, 1e6) for p in prompts) for cache in (PrefixCache(1024), PrefixCache(4096), PrefixCache())
    ]
    assert found == sorted(found)
