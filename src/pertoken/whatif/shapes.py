"""Counterfactuals of the model and the machine: other attention, another cache, a faster accelerator."""

from __future__ import annotations

from dataclasses import replace

from pertoken.cost import Cost
from pertoken.errors import PertokenError
from pertoken.model.altered import (
    INDEXER_DIM,
    INDEXER_HEADS,
    EvictedLatent,
    EvictedQuery,
    SparseQuery,
    recast,
    with_attention,
)
from pertoken.model.attention import Attention, GroupedQuery, Indexer, Latent
from pertoken.model.precision import number_format
from pertoken.whatif.base import Case, Counterfactual, repriced


def _altered(cost: Cost, change: dict[type, object], missing: str) -> Cost:
    """The model with each layer of exactly these kinds of attention changed, or a sentence where it has none."""
    model = cost.deployment.model

    def of(attention: Attention) -> Attention:
        new = change.get(type(attention), lambda same: same)(attention)  # type: ignore[operator]
        assert isinstance(new, Attention)
        return new

    changed = with_attention(model, of)
    if changed == model:
        raise PertokenError(missing)
    return repriced(cost, replace(cost.deployment, model=changed))


def no_gqa(cost: Cost, _: float) -> Case:
    """As many key-value heads as query heads, in every layer with grouped queries."""

    def ungroup(a: GroupedQuery) -> GroupedQuery:
        return replace(a, kv_heads=a.heads)

    name = cost.deployment.model.name
    found = _altered(cost, {GroupedQuery: ungroup}, f"no layer of {name} has fewer key-value heads than query heads")
    return Case(found, ("the wider key and value projections are paid for too",))


def window(cost: Cost, size: float) -> Case:
    """A sliding window in every layer that attends to all positions."""

    def narrow(a: GroupedQuery) -> GroupedQuery:
        return replace(a, window=min(a.window or int(size), int(size)))

    name = cost.deployment.model.name
    missing = f"no layer of {name} is grouped-query attention with a longer view"
    return Case(_altered(cost, {GroupedQuery: narrow}, missing), ("quality is not looked at",))


def evict(cost: Cost, budget: float) -> Case:
    """A cache that keeps some positions of a sequence."""

    def cut(a: GroupedQuery) -> Attention:
        kept: Attention = recast(a, EvictedQuery, budget=int(budget)) if a.window is None else a
        return kept

    def cut_latent(a: Latent) -> Attention:
        kept: Attention = recast(a, EvictedLatent, budget=int(budget)) if a.reach is None else a
        return kept

    missing = f"no layer of {cost.deployment.model.name} keeps all positions of a sequence in its cache"
    found = _altered(cost, {GroupedQuery: cut, Latent: cut_latent}, missing)
    return Case(
        found, ("the prompt is attended to in full and its cache cut then; choosing what to keep costs nothing",)
    )


def top_k(cost: Cost, k: float) -> Case:
    """An indexer picks the positions that a token attends to."""
    index = Indexer(INDEXER_HEADS, INDEXER_DIM, int(k))

    def pick(a: GroupedQuery) -> Attention:
        sparse: Attention = recast(a, SparseQuery, indexer=index) if a.window is None else a
        return sparse

    def pick_latent(a: Latent) -> Attention:
        return replace(a, indexer=index) if a.reach is None else a

    missing = f"no layer of {cost.deployment.model.name} attends to all positions"
    found = _altered(cost, {GroupedQuery: pick, Latent: pick_latent}, missing)
    shape = f"an indexer of {INDEXER_HEADS} heads of {INDEXER_DIM}, as in DeepSeek-V3.2, scores all positions"
    return Case(found, (shape,))


def _cache_in(name: str) -> Counterfactual:
    def make(cost: Cost, _: float) -> Case:
        d, form = cost.deployment, number_format(name)
        if d.kv_bytes <= form.cache:
            raise PertokenError(f"the KV cache is kept in {d.precision.kv} already, {d.kv_bytes:g} B an element")
        if not float(d.model.cache_bytes(2.0, 1.0)) > float(d.model.cache_bytes(1.0, 1.0)):
            raise PertokenError(f"{d.model.name} has no KV cache that grows with the context")
        found = repriced(cost, replace(d, precision=replace(d.precision, kv=name)))
        size = f"{form.cache:g} byte{'s' * (form.cache != 1)} an element, scales included"
        return Case(found, (f"{size}; attention's arithmetic stays in half precision",))

    return Counterfactual(f"kv-{name}", f"the KV cache in {name}", make)


def bandwidth(cost: Cost, factor: float) -> Case:
    """Memory that is faster."""
    a = cost.deployment.accelerator
    faster = replace(
        a, bandwidth=replace(a.bandwidth, value=a.bandwidth.value * factor, note=f"{factor:g} times that of {a.name}")
    )
    return Case(
        repriced(cost, replace(cost.deployment, accelerator=faster)),
        ("the same rent, and the same shares of peaks reached",),
    )


def capacity(cost: Cost, factor: float) -> Case:
    """Memory that is larger."""
    a = cost.deployment.accelerator
    note = f"{factor:g} times that of {a.name}"
    larger = replace(a, memory=replace(a.memory, value=a.memory.value * factor, note=note))
    return Case(repriced(cost, replace(cost.deployment, accelerator=larger)), ("the same rent",))


def flops(cost: Cost, factor: float) -> Case:
    """Arithmetic that is faster, in every format."""
    a = cost.deployment.accelerator
    peaks = {
        name: replace(p, value=p.value * factor, note=f"{factor:g} times that of {a.name}")
        for name, p in a.flops.items()
    }
    faster = replace(cost.deployment, accelerator=replace(a, flops=peaks))
    return Case(repriced(cost, faster), ("the same rent, and the same shares of peaks reached",))


def links(cost: Cost, factor: float) -> Case:
    """Links and network that are faster."""
    d = cost.deployment
    if d.accelerators == 1 or d.split.tp == d.split.pp == d.split.ep == 1:
        raise PertokenError(f"nothing passes between the accelerators of {d.split}")
    a, link = d.accelerator, d.accelerator.link
    faster = link and replace(link, bandwidth=replace(link.bandwidth, value=link.bandwidth.value * factor))
    changed = replace(d, accelerator=replace(a, link=faster), network=d.network * factor)
    return Case(repriced(cost, changed), ("the same rent and latency",))


SHAPES = (
    _cache_in("fp8"),
    _cache_in("int4"),
    Counterfactual("no-gqa", "as many key-value heads as query heads (grouped-query attention undone)", no_gqa),
    Counterfactual("window", "a sliding window of {} tokens in every layer", window, 4096, 1, 1e8, "token"),
    Counterfactual("evict", "a KV cache cut to {} tokens of each sequence", evict, 1024, 1, 1e8, "token"),
    Counterfactual("top-k", "sparse attention to the {} positions that an indexer picks", top_k, 2048, 1, 1e8, "token"),
)
FASTER = (
    Counterfactual("bandwidth", "{} times the memory bandwidth", bandwidth, 2, 0.01, 100),
    Counterfactual("memory", "{} times the memory, at the same bandwidth", capacity, 2, 0.01, 100),
    Counterfactual("flops", "{} times the FLOP/s", flops, 2, 0.01, 100),
    Counterfactual("links", "{} times the bandwidth of link and network", links, 2, 0.01, 100),
)  # fmt: skip
