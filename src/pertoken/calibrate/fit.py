"""Robust least squares of an efficiency's parameters on log seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.calibrate.operators import FORMS, Array, Samples
from pertoken.engine.efficiency import (
    AttentionEfficiency,
    CollectiveEfficiency,
    LatentEfficiency,
    MatmulEfficiency,
    Residual,
)

Start = tuple[float, float, float]  # first guess, low, high
MOST_ROWS = 8000
SLOW, SLOW_SHORT = 1.6, 2.5  # a table this much slower than the best at the median times a kernel nobody should run:
# over rows that take `SHORT` and more, or over all rows, many of which are launch time alone
SLOW_FLOOR = 2.2  # a matmul table whose shortest rows are this much slower times the host or a quantiser of its own
PADDING = 0.5  # most rows of padding, over the tokens at which weights and arithmetic take equally long
PULL = 0.02  # weight of the pull towards the first guess, which settles what the rows do not
NEAR = 0.15  # log error up to which a row counts in full
BEATS = 0.97  # share of the memory rate that only a read from the on-chip cache can pass
SHORT = 3e-5  # rows shorter than this weigh less [s]
CACHE_MOST = 3e8  # no on-chip cache holds more [byte]


@dataclass(frozen=True)
class Spec:
    """What to fit for one group: the record, its parameters with ranges, and which keep their value."""

    record: type
    free: Mapping[str, Start]
    fixed: Mapping[str, float]


_MATMUL: dict[str, Start] = {
    "peak": (0.8, 0.05, 1.0),
    "m_half": (50.0, 0.5, 2e3),
    "n_half": (100.0, 0.5, 2e4),
    "k_half": (100.0, 0.5, 4e3),
    "bandwidth": (0.85, 0.2, 0.96),
    "bytes_half": (3e6, 1e3, 3e8),
    "launch_s": (4e-6, 5e-7, 9e-4),
}
_READ: dict[str, Start] = {
    "bandwidth": (0.9, 0.1, 0.96),
    "bytes_half": (1e6, 1e3, 1e9),
    "context_half": (50.0, 0.1, 5e3),
    "launch_s": (9e-6, 5e-7, 9e-4),
}
_PREFILL: dict[str, Start] = {"peak": (0.7, 0.05, 1.0), "pairs_half": (600.0, 0.5, 2e4)}
_NO_READ = {"bandwidth": 0.9, "bytes_half": 0.0, "context_half": 0.0}
_LAUNCH: dict[str, Start] = {"launch_s": (1e-5, 5e-7, 9e-4)}
SPECS = {
    "matmul": Spec(MatmulEfficiency, _MATMUL, {}),
    "experts": Spec(MatmulEfficiency, _MATMUL | {"launch_s": (2e-5, 5e-7, 9e-4)}, {}),
    "prefill": Spec(AttentionEfficiency, _PREFILL | {"dim_half": (30.0, 0.5, 500.0)} | _LAUNCH, _NO_READ),
    # up to 16 heads to a cache head, decode reads too much for its arithmetic to show in the tables: peak is assumed
    "decode": Spec(AttentionEfficiency, _READ, {"peak": 0.3, "pairs_half": 0.0, "dim_half": 0.0}),
    "latent_prefill": Spec(LatentEfficiency, _PREFILL | _LAUNCH, _NO_READ | {"heads_half": 0.0}),
    "latent_decode": Spec(
        LatentEfficiency, {"peak": (0.5, 0.01, 1.0), "heads_half": (20.0, 0.1, 500.0)} | _READ, {"pairs_half": 0.0}
    ),
    "collective": Spec(
        CollectiveEfficiency,
        {
            "latency_s": (4e-6, 2e-7, 1e-3),
            "hop_s": (5e-7, 1e-9, 1e-4),
            "bandwidth": (0.8, 0.01, 1.0),
            "bytes_half": (1e6, 1e2, 1e9),
            "contention": (1e-2, 1e-4, 10.0),
        },
        {},
    ),
}
# where a switch joins all ranks an all-reduce at once can beat one in parts, and switches from Hopper on add
_AT_ONCE: dict[str, Start] = {"direct": (0.5, 0.02, 1.0), "sync_s": (3e-6, 1e-9, 1e-4)}
SWITCHED = {"a100_sxm": False, "h100_sxm": True, "h200_sxm": True, "b200_sxm": True, "b300_sxm": True, "gb200": True,
            "gb300": True}  # fmt: skip


def spec_of(samples: Samples) -> Spec:
    """What to fit to these samples."""
    spec, system = SPECS[samples.group], samples.labels[0].split(" ")[1]
    if samples.key != "all_reduce" or system not in SWITCHED:
        return spec
    return Spec(spec.record, {**spec.free, **_AT_ONCE}, {"in_switch": SWITCHED[system]})


def seconds(record: Any, shape: Mapping[str, Array], flops: float, rate: float) -> Array:
    """Predicted seconds [s], by the formula that the engine uses; ``rate`` is the link's for a collective [byte/s]."""
    compute, memory, launch = parts(record, shape, flops, rate)
    return np.asarray(np.maximum(compute, memory) + launch)


def parts(record: Any, shape: Mapping[str, Array], flops: float, rate: float) -> tuple[Array, Array, Array]:
    """Predicted seconds of arithmetic, of memory or link, and of what does not depend on size [s]."""
    if isinstance(record, CollectiveEfficiency):
        launch = record.latency(shape["ranks"])
        return np.zeros(len(launch)), record.seconds(shape["bytes"], shape["ranks"], rate) - launch, launch
    if isinstance(record, MatmulEfficiency):
        compute, memory = record.compute(shape["m"], shape["n"], shape["k"]), record.memory(shape["bytes"])
    else:
        last = shape["heads"] if isinstance(record, LatentEfficiency) else shape["dim"]
        # pairs = context + (new + 1) / 2, handed over as context with no further token
        compute = record.compute(-1.0, shape["pairs"], last)
        memory = record.memory(shape["bytes"], shape["pairs"])
    launch = np.full(len(compute), record.launch_s)
    return shape["flop"] / (flops * compute), shape["bytes"] / (rate * memory), launch


def usable(samples: Samples, flops: float, rate: float, even: bool = True) -> tuple[Samples, tuple[str, ...]]:
    """Rows worth learning from, and what was left out.

    Experts that are not routed evenly read less than their columns say, so no row of theirs is too fast.

    Left out are

    - tables slower than the best by more than `SLOW` at the median over common shapes;
    - matrix products whose shortest rows are `SLOW_FLOOR` times slower than the best;
    - latent decoding that leaves one sequence to one block of the chip, however long it is;
    - experts of models whose weights would have come faster than the memory gives them (the table's shape is not what
      was run);
    - reads that a repeated measurement finds in the on-chip cache: where any memory-bound row beats the memory's own
      rate, all between 2 MB and 1.5 times the size of the largest such row.
    """
    dropped = []
    good = np.ones(len(samples.seconds), dtype=bool)
    name = f"{samples.group}.{samples.key}"
    for i, why in _unfit(samples, rate):
        good &= samples.teacher != i
        dropped.append(f"{samples.labels[i]}, {name}: left out, {why}")
    fair, said = readable(samples, flops, rate, good) if even else (good, [])
    good &= fair
    dropped += [f"{name}: {sentence}" for sentence in said]
    return samples.take(np.flatnonzero(good)), tuple(dropped)


def readable(
    samples: Samples, flops: float, rate: float, good: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.bool_], list[str]]:
    """Rows among the good ones that read what their columns say, from memory, and what was left out."""
    good = np.ones(len(samples.seconds), dtype=bool) if good is None else good.copy()
    if samples.group not in ("matmul", "experts", "decode", "latent_decode"):
        return good, []
    dropped = []
    size = samples.shape["bytes"]
    bound = size / rate > samples.shape["flop"] / flops
    beats = bound & (size > BEATS * rate * samples.seconds)
    if samples.group == "experts":
        impossible = good & np.isin(models(samples), models(samples)[beats & (size > CACHE_MOST)])
        good &= ~impossible
        if impossible.any():
            dropped.append(f"{int(impossible.sum())} rows left out, faster than memory")
    cached = beats & good & (size < CACHE_MOST)
    if cached.sum() > 5:
        edge = 1.5 * float(np.quantile(size[cached], 0.98))
        cached = good & bound & (size > 2e6) & (size < edge)
        good &= ~cached
        dropped.append(f"{int(cached.sum())} rows left out, cached reads under {edge:.2g} byte")
    return good, dropped


def _unfit(samples: Samples, rate: float) -> list[tuple[int, str]]:
    """Tables to leave out whole, and why."""
    found = [
        (i, f"{max(ratio, long):.1f} times the best")
        for i, (ratio, long) in enumerate(_against_best(samples))
        if ratio > SLOW_SHORT or long > SLOW
    ]
    found += [(i, "one block of the chip for each sequence") for i in _unsplit(samples, rate)]
    if samples.group == "matmul":
        floors = [float(np.quantile(samples.seconds[samples.teacher == i], 0.01)) for i in range(len(samples.labels))]
        found += [
            (i, f"its shortest rows take {floor / min(floors):.1f} times the best")
            for i, floor in enumerate(floors)
            if floor > SLOW_FLOOR * min(floors)
        ]
    return found


def _unsplit(samples: Samples, rate: float) -> list[int]:
    """Tables of latent decoding that read one long sequence at under 2% of the memory rate."""
    if samples.group != "latent_decode":
        return []
    share = samples.shape["bytes"] / (rate * samples.seconds)
    alone = (samples.shape["bytes"] < 1153 * samples.shape["pairs"]) & (samples.shape["pairs"] > 16000)
    found = [(i, share[alone & (samples.teacher == i)]) for i in range(len(samples.labels))]
    return [i for i, mine in found if len(mine) and float(np.median(mine)) < 0.02]


def models(samples: Samples) -> NDArray[np.int64]:
    """Which model, in which table, each row of experts is of."""
    rows = np.stack([samples.shape[name] for name in ("k", "active", "experts")] + [samples.teacher.astype(float)])
    return np.ravel(np.unique(rows, axis=1, return_inverse=True)[1])


def _against_best(samples: Samples) -> list[tuple[float, float]]:
    """Median of each table's seconds over the best of all, on shapes that it shares: all rows, and long ones."""
    rows = np.stack(list(samples.shape.values()))
    _, shape = np.unique(rows, axis=1, return_inverse=True)
    shape = np.ravel(shape)
    best = np.full(shape.max() + 1, np.inf)
    np.minimum.at(best, shape, samples.seconds)
    shared, ratio = np.bincount(shape)[shape] > 1, samples.seconds / best[shape]
    found = []
    for i in range(len(samples.labels)):
        mine = shared & (samples.teacher == i)
        long = mine & (best[shape] > SHORT)
        found.append(tuple(float(np.median(ratio[q])) if q.sum() > 20 else 1.0 for q in (mine, long)))
    return [(pair[0], pair[1]) for pair in found]


def weights(samples: Samples) -> Array:
    """More say for rows of a size and framework with few rows, and less for those too short to cost much."""
    size = samples.shape["flop"] if "flop" in samples.shape else samples.shape["bytes"]
    bins = np.floor(np.log10(np.maximum(size, 1.0)) * 2.0).astype(int)
    cell = bins * len(samples.labels) + samples.teacher
    count = np.bincount(cell)[cell]
    return np.asarray(np.clip(samples.seconds / SHORT, 0.3, 1.0) / np.sqrt(count / count.mean()))


def fit(samples: Samples, flops: float, rate: float, seed: int = 0) -> Any:
    """The record whose seconds come nearest to the measured ones, by soft-L1 on their logs."""
    from scipy.optimize import least_squares

    spec = spec_of(samples)
    chosen: NDArray[Any] = np.random.default_rng(seed).permutation(len(samples.seconds))[:MOST_ROWS]
    part = samples.take(chosen)
    scale, measured = np.sqrt(weights(part)), np.log(part.seconds)
    ranges = dict(spec.free)
    if "m_half" in ranges:  # few tokens must be bound by the weights they read, however the rows scatter
        most = PADDING * _ridge(samples.key, flops, rate)
        ranges["m_half"] = (most / 2.0, ranges["m_half"][1], most)
    names, pull = list(ranges), PULL * len(chosen) ** 0.5
    first, low, high = (np.log([ranges[name][i] for name in names]) for i in range(3))

    def made(x: Array) -> Any:
        values = {name: float(v) for name, v in zip(names, np.exp(x), strict=True)}
        # the ends of a range come back a rounding error outside it
        values = {name: min(max(v, ranges[name][1]), ranges[name][2]) for name, v in values.items()}
        return spec.record(**values, **spec.fixed)

    def residuals(x: Array) -> Array:
        off = scale * (np.log(seconds(made(x), part.shape, flops, rate)) - measured)
        return np.concatenate([off, pull * (x - first)])

    found = least_squares(residuals, first, bounds=(low, high), loss="soft_l1", f_scale=NEAR, x_scale=0.3, max_nfev=200)
    return made(found.x)


def _ridge(key: str, flops: float, rate: float) -> float:
    """Tokens at which reading a weight takes as long as multiplying it."""
    form = next(form for form in FORMS.values() if form.key == key)
    return form.weight * flops / (2.0 * rate)


def errors(record: Any, samples: Samples, flops: float, rate: float) -> Array:
    """log(measured / predicted) of each row [1]."""
    return np.log(samples.seconds / seconds(record, samples.shape, flops, rate))


def residual(record: Any, samples: Samples, flops: float, rate: float) -> Residual:
    """Spread of the errors."""
    low, middle, high = (float(q) for q in np.quantile(errors(record, samples, flops, rate), (0.05, 0.5, 0.95)))
    return Residual(low, middle, high, float(len(samples.seconds)))
