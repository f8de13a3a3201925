"""Kernel factors of each engine: its own newest table against the fit over all engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.calibrate import fit, operators
from pertoken.calibrate.operators import CACHE, FORMS, Array, Samples, Table
from pertoken.engine.factor import EngineFactor

ENGINES = ("vllm", "sglang", "trtllm")
Make = Callable[[Sequence[Table]], Samples | None]

MOST_TOKENS = 8192.0  # of one step in serving
LEAST_WEIGHTS = 2**20  # elements of a matrix that a served layer has at least
LEAST_ROWS = {"collective": 8}
ROWS = 40  # rows that a factor needs where it binds
APART = 0.1  # log distance from which memory and arithmetic get factors of their own
NOISE = 0.03  # log factors closer to 0 than this say nothing
OTHER = np.log(2.0)  # a log factor past this is that of another kernel than the one served
FLAT = 0.25  # growth of log seconds with log work under which a table times its host
NEAR = 0.05  # log error up to which a row counts in full
LEAST = 0.105  # least factor, and one over the largest


@dataclass(frozen=True)
class Found:
    """A factor and what to say about it: ``factor`` is None where the pooled fit holds or nothing fair was measured."""

    factor: EngineFactor | None
    notes: tuple[str, ...]


def maker(group: str, key: str, system: str) -> Make:
    """What reads the samples of one group and key out of tables."""
    dtype = next((name for name, form in FORMS.items() if form.key == key), "")
    cache = next((name for name, (short, _) in CACHE.items() if short == key), "")
    if group == "matmul":
        return lambda found: operators.matmul(found, system, dtype)
    if group == "experts":
        return lambda found: operators.experts(found, system, dtype)
    if group == "collective":
        return lambda found: operators.collective(found, system, "alltoall" if key == "all_to_all" else key)
    if group.startswith("latent_"):
        return lambda found: operators.latent(found, system, group.removeprefix("latent_"), cache)
    return lambda found: operators.attention(found, system, group, cache)


def factor(found: Sequence[Table], system: str, engine: str, name: str, record: Any, at: tuple[float, float]) -> Found:
    """Factor of one engine for ``name`` = ``group.key`` on one system.

    The engine's newest table counts; where that runs another kernel than the one served (`OTHER`), the one before it.

    Parameters
    ----------
    found : sequence of Table
        All tables.
    record : efficiency
        The fit over all engines.
    at : tuple of float
        Arithmetic peak [FLOP/s] and memory or link rate [byte/s] of that fit.
    """
    group, key = name.split(".")
    own = [t for t in found if t.system == system and t.framework in (engine, "nccl", "oneccl")]
    notes: list[str] = []
    while True:
        samples = maker(group, key, system)(own)
        label = next((label for label in (samples.labels if samples else ()) if f" {engine} " in label), None)
        if samples is None or label is None:
            return Found(None, tuple(notes))
        samples, said = fair(samples, found, label, record, at)
        notes += [f"{label}, {name}: engine factor {sentence}" for sentence in said]
        found_logs = logs(samples, record, at)
        most = worst(samples, record, at)
        if most <= OTHER:
            return Found(rounded(found_logs), tuple(notes))
        notes.append(
            f"{label}, {name}: engine factor up to {np.exp(most):.1f}, another kernel than the one served: left out"
        )
        own = [t for t in own if t.label != label]


def fair(
    samples: Samples, found: Sequence[Table], label: str, record: Any, at: tuple[float, float]
) -> tuple[Samples, list[str]]:
    """Rows of serving size that time the kernel and nothing else, and what was done to get them."""
    said: list[str] = []
    if samples.group == "matmul" and samples.key == "fp8" and " trtllm " in label:
        samples, said = static(samples, found, label)
    good = fit.readable(samples, *at)[0] & served(samples)
    floor = _floor(samples, record, at)
    if floor:  # what the host adds to long rows is not known either
        good[:] = False
        said.append(f"left out, its rows up to {floor * 1e6:.0f} us time the host")
    if samples.group == "experts":
        strange = _strange(samples, found, record, at) & good
        if strange.any() and not strange[good].all():
            said.append(f"without {int(strange.sum())} rows of models that it ran with another kernel")
            good &= ~strange
    return samples.take(np.flatnonzero(good)), said


def _strange(samples: Samples, found: Sequence[Table], record: Any, at: tuple[float, float]) -> NDArray[np.bool_]:
    """Experts of models whose median row is past `OTHER`, or slower than the fastest table by `fit.SLOW`.

    Each model has a kernel of its own; one this slow reads weights in another format.
    """
    rows = ~_binding(samples, record, at)["launch"]
    model, off = fit.models(samples), fit.errors(record, samples, *at)
    beside = np.log(samples.seconds / _best(samples, maker(samples.group, samples.key, _system(samples))(found)))
    strange = [
        m
        for m in np.unique(model[rows])
        if abs(float(np.median(off[rows & (model == m)]))) > OTHER
        or float(np.median(beside[rows & (model == m)])) > np.log(fit.SLOW)
    ]
    return np.isin(model, strange)


def _best(samples: Samples, every: Samples | None) -> Array:
    """Seconds of the fastest table at each shape [s]."""
    if every is None:
        return samples.seconds
    names = list(samples.shape)
    rows = np.concatenate([np.stack([s.shape[n] for n in names], axis=1) for s in (samples, every)])
    shape = np.ravel(np.unique(rows, axis=0, return_inverse=True)[1])
    best = np.full(shape.max() + 1, np.inf)
    np.minimum.at(best, shape, np.concatenate([samples.seconds, every.seconds]))
    return np.asarray(best[shape[: len(samples.seconds)]])


def _system(samples: Samples) -> str:
    return samples.labels[0].split(" ")[1]


def served(samples: Samples) -> NDArray[np.bool_]:
    """Rows of the sizes that serving has."""
    s = samples.shape
    if samples.group == "matmul":
        return np.asarray((s["m"] <= MOST_TOKENS) & (s["n"] * s["k"] >= LEAST_WEIGHTS))
    if samples.group == "experts":
        return np.asarray(s["tokens"] <= MOST_TOKENS)
    return np.ones(len(samples.seconds), dtype=bool)


def static(samples: Samples, found: Sequence[Table], label: str) -> tuple[Samples, list[str]]:
    """The same less the time in which scales are found, which checkpoints with static scales do not take.

    Versions without a table of that time take the one nearest to them.
    """
    _, system, engine, version, _ = label.split(" ")
    of = [t for t in found if (t.system, t.name) == (system, "computescale_perf")]
    of.sort(key=lambda t: (t.framework == engine, t.version == version))
    for table in of[-1:]:
        c = table.read()
        size = c["m"].astype(float) * c["k"]
        order = np.argsort(size)
        extra = np.interp(samples.shape["m"] * samples.shape["k"], size[order], c["latency"][order] * 1e-3)
        return replace(samples, seconds=np.maximum(samples.seconds - extra, 1e-6)), ["less the search for scales"]
    return samples, []


def _floor(samples: Samples, record: Any, at: tuple[float, float]) -> float:
    """Seconds under which a table times its host and not its kernel, 0 where it does not.

    Kernels that should take less than half the shortest row of the table and still take the same time, whatever their
    work, wait for the host.
    """
    if samples.group not in ("matmul", "experts"):
        return 0.0
    expected = fit.seconds(record, samples.shape, *at)
    short = expected < 0.5 * np.quantile(samples.seconds, 0.01)
    if short.sum() < ROWS or np.ptp(np.log(expected[short])) < np.log(3.0):
        return 0.0
    slope = np.polyfit(np.log(expected[short]), np.log(samples.seconds[short]), 1)[0]
    return float(np.quantile(samples.seconds[short], 0.95)) if slope < FLAT else 0.0


def _binding(samples: Samples, record: Any, at: tuple[float, float]) -> dict[str, NDArray[np.bool_]]:
    """Rows where memory, arithmetic or the launch takes most of the time, by the fit over all engines."""
    compute, memory, launch = fit.parts(record, samples.shape, *at)
    small, more = launch > np.maximum(compute, memory), compute > memory
    bound = {"launch": small, "memory": ~small & ~more, "compute": ~small & more}
    if samples.group in ("decode", "collective"):  # their arithmetic was not fitted
        del bound["compute"]
    if samples.group.endswith("prefill"):  # nor was its reading
        del bound["memory"]
    return bound


def logs(samples: Samples, record: Any, at: tuple[float, float]) -> dict[str, float]:
    """Log factors where enough rows bind, by soft-L1 on the logs: with one of them alone, a weighted median."""
    from scipy.optimize import least_squares

    if not len(samples.seconds):
        return {}
    bound = _binding(samples, record, at)
    needs = LEAST_ROWS.get(samples.group, ROWS)
    names = [name for name, rows in bound.items() if rows.sum() >= needs]
    if not names:
        return {}
    share: Array = np.zeros(len(samples.seconds))
    for name in names:  # what binds counts the same, however many rows it has
        share[bound[name]] = 1.0 / bound[name].sum()
    scale = np.sqrt(fit.weights(samples) * share * len(share))
    measured = np.log(samples.seconds)

    def off(x: Array) -> Array:
        values = {name: float(v) for name, v in zip(names, np.exp(x), strict=True)}
        scaled = EngineFactor(**values).of(record)
        return np.asarray(scale * (np.log(fit.seconds(scaled, samples.shape, *at)) - measured))

    # no share of a peak passes 1, so no factor goes below the share of the fit
    least = {"memory": record.bandwidth, "compute": getattr(record, "peak", 1.0), "launch": LEAST}
    low = np.array([np.log(max(least[name], LEAST)) - 1e-6 for name in names])
    solved = least_squares(
        off, np.zeros(len(names)), bounds=(low, -np.log(LEAST)), loss="soft_l1", f_scale=NEAR, diff_step=1e-3
    )
    return {name: float(v) for name, v in zip(names, solved.x, strict=True)}


def worst(samples: Samples, record: Any, at: tuple[float, float]) -> float:
    """Largest median |log error| where memory or arithmetic binds, over all rows and over the longest quarter."""
    off, found = fit.errors(record, samples, *at), [0.0]
    for name, rows in _binding(samples, record, at).items():
        if name != "launch" and rows.sum() >= ROWS:
            long = rows & (samples.seconds >= np.quantile(samples.seconds[rows], 0.75))
            found += [abs(float(np.median(off[rows]))), abs(float(np.median(off[long])))]
    return max(found)


def rounded(logs: dict[str, float]) -> EngineFactor | None:
    """The factor, with memory and arithmetic together where they are close, or None where it says nothing."""
    if "memory" in logs and "compute" in logs and abs(logs["memory"] - logs["compute"]) < APART:
        logs = logs | dict.fromkeys(("memory", "compute"), 0.5 * (logs["memory"] + logs["compute"]))
    values = {name: round(float(np.exp(v)), 3) for name, v in logs.items() if abs(v) > NOISE}
    return EngineFactor(**values) if values else None
