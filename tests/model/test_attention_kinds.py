"""Physics of the attention kinds that readers make: limits, ranks, and brute force for compressed attention."""

from __future__ import annotations

import numpy as np
import pytest

from pertoken.errors import PertokenError
from pertoken.model.attention import Indexer, Latent, Replaced
from pertoken.model.compressed import Compressed

INDEXER = Indexer(4, 16, 32)
NEAR = Compressed(256, 8, 32, 8, 64, 4, 32, window=16)
PICKED = Compressed(256, 8, 32, 8, 64, 4, 32, 16, 4, True, INDEXER)
POOLED = Compressed(256, 8, 32, 8, 64, 4, 32, 16, 128)
ALL = [NEAR, PICKED, POOLED]


def entries_seen(a: Compressed, position: int) -> float:
    """Entries that the token at ``position`` attends to, counted one by one."""
    near = min(position + 1, a.window)
    if not a.ratio:
        return near
    pooled = (position + 1) // a.ratio
    return near + (min(pooled, a.indexer.top_k) if a.indexer else pooled)


@pytest.mark.parametrize("a", ALL)
def test_flop_follow_the_entries(a: Compressed) -> None:
    start, new = 900, 400
    seen = sum(entries_seen(a, p) for p in range(start, start + new))
    scored = sum((p + 1) // a.ratio for p in range(start, start + new)) if a.indexer else 0
    brute = 4 * a.heads * a.head_dim * seen + (a.indexer.flop(scored) if a.indexer else 0)
    # entries are counted as positions / ratio, on average half an entry too many
    assert a.flop(float(new), float(start)) == pytest.approx(brute, rel=0.04)


@pytest.mark.parametrize("a", ALL)
def test_ranks_sum_to_the_whole(a: Compressed) -> None:
    replicated = {"qkv_down", "compressor", "indexer_query", "indexer_key"}
    whole = {m.name: m.parameters for m in a.projections()}
    part = {m.name: m.parameters for m in a.projections(4)}
    for name, size in whole.items():
        assert part[name] == (size if name in replicated else size / 4)
    assert 4 * a.flop(10.0, 50.0, 4) == pytest.approx(a.flop(10.0, 50.0)) or a.indexer


def test_a_window_stops_growing_and_pools_grow_slowly() -> None:
    far, farther = 10_000.0, 20_000.0
    assert NEAR.held_bytes(far, 2.0) == NEAR.held_bytes(farther, 2.0) == 16 * 32 * 2
    assert POOLED.held_bytes(farther, 2.0) - POOLED.held_bytes(far, 2.0) == pytest.approx(far / 128 * 64)
    slope = (PICKED.held_bytes(farther, 2.0) - PICKED.held_bytes(far, 2.0)) / far
    assert slope == pytest.approx((64 + 20) / 4)


def test_reads_stop_at_top_k_but_indexer_keys_do_not() -> None:
    step = PICKED.read_bytes(1.0, 20_000.0, 2.0) - PICKED.read_bytes(1.0, 10_000.0, 2.0)
    assert step == pytest.approx(10_000 / 4 * 20)


def test_rotated_part_stays_in_half_precision() -> None:
    assert NEAR.written_bytes(1.0, 1.0) == 24 * 1.0 + 8 * 2.0
    assert NEAR.written_bytes(1.0, 2.0) == 32 * 2.0


def test_arrays_go_through() -> None:
    contexts = np.array([0.0, 10.0, 1e6])
    for a in ALL:
        for found in (a.flop(1.0, contexts), a.read_bytes(1.0, contexts, 1.0), a.held_bytes(contexts, 1.0)):
            assert np.asarray(found).shape == (3,)
            assert np.all(np.diff(found) >= 0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PertokenError, match="does not fit together"):
        Compressed(256, 8, 32, 64, 64, 4, 32, 16)
    with pytest.raises(PertokenError, match="output groups"):
        NEAR.projections(8)


def test_a_layer_with_a_borrowed_choice_costs_the_same_but_for_the_indexer() -> None:
    own = Latent(256, 8, 64, 32, 16, 8, 16, INDEXER)
    borrowed = Latent(256, 8, 64, 32, 16, 8, 16, None, 32)
    assert own.flop(1.0, 5000.0) - borrowed.flop(1.0, 5000.0) == INDEXER.flop(5001.0)
    assert own.read_bytes(1.0, 5000.0, 2.0) - borrowed.read_bytes(1.0, 5000.0, 2.0) == 5001 * 20.0
    assert own.held_bytes(100.0, 2.0) - borrowed.held_bytes(100.0, 2.0) == 100 * 20.0
    assert own.reach == borrowed.reach == 32 and not borrowed.linear_in_context


def test_a_matrix_in_the_place_of_attention_keeps_nothing() -> None:
    a = Replaced(64)
    assert a.parameters == 64 * 64
    assert a.flop(3.0, 5.0) == a.read_bytes(3.0, 5.0, 2.0) == a.held_bytes(5.0, 2.0) == a.written_bytes(3.0, 2.0) == 0.0
