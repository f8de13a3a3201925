"""This machine as an accelerator: how fast its processors read memory and multiply matrices, by numpy.

What numpy reaches is no datasheet peak: an engine of its own kernels may be somewhat faster or slower. Each figure is the
median of repeats on all processors, with the spread between them beside it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pertoken.errors import PertokenError
from pertoken.units import GIBI, MEBI

LEAST_SECONDS, MOST_SECONDS = 0.5, 600.0
READ_BYTES = 512 * MEBI  # larger than caches
PRODUCT = 1024  # rows and columns of the matrices
LEAST_REPEATS = 5


@dataclass(frozen=True)
class Spread:
    """A figure with what its repeats scatter.

    Parameters
    ----------
    value : float
        Median.
    low, high : float
        10 and 90% of the repeats.
    repeats : int
        How many.
    """

    value: float
    low: float
    high: float
    repeats: int


@dataclass(frozen=True)
class Machine:
    """What was found.

    Parameters
    ----------
    title : str
        The processor's name, as the system states it.
    processors : int
        That this process may use.
    memory : float
        Of the system [byte].
    bandwidth : Spread
        Read rate [byte/s].
    fp32 : Spread
        Rate of products in single precision [FLOP/s].
    """

    title: str
    processors: int
    memory: float
    bandwidth: Spread
    fp32: Spread


def spread_of(values: list[float]) -> Spread:
    """Median and 10 to 90% of repeats."""
    low, middle, high = np.quantile(np.array(values), (0.1, 0.5, 0.9))
    return Spread(float(middle), float(low), float(high), len(values))


def _repeated(work: Callable[[], object], amount: float, seconds: float) -> Spread:
    """Amounts per second of some work, repeated for a time; the first is a warm-up."""
    work()
    rates, end = list[float](), time.perf_counter() + seconds
    while len(rates) < LEAST_REPEATS or time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        rates.append(amount / (time.perf_counter() - begin))
    return spread_of(rates)


def read_rate(seconds: float, processors: int) -> Spread:
    """Bytes per second that all processors together read from memory [byte/s]."""
    size = int(min(READ_BYTES, memory_bytes() / 8))
    parts = np.array_split(np.ones(size // 4, dtype=np.float32), processors)
    with ThreadPoolExecutor(processors) as pool:
        return _repeated(lambda: list(pool.map(np.max, parts)), float(size // 4 * 4), seconds)


def product_rate(seconds: float) -> Spread:
    """FLOP per second of large products in single precision, on the threads that numpy's library takes [FLOP/s]."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((PRODUCT, PRODUCT), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    return _repeated(lambda: np.matmul(a, b, out=out), 2.0 * PRODUCT**3, seconds)


def memory_bytes() -> float:
    """Memory of the system [byte]; 8 GiB where it does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 8.0 * GIBI


def processor_name(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor as Linux names it, else a plain word."""
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.lower().startswith(("model name", "hardware")))
    return next((name[:120] for name in names if name), "this machine's processor")


def measure(seconds: float) -> Machine:
    """Measure for about so long in all.

    Parameters
    ----------
    seconds : float
        0.5 to 600 [s].

    Raises
    ------
    PertokenError
        When it is out of range.
    """
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise PertokenError(
            f"--max-seconds is {seconds:g}; this machine is measured for {LEAST_SECONDS:g} to {MOST_SECONDS:g}"
        )
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    half = seconds / 2.0
    return Machine(processor_name(), able, memory_bytes(), read_rate(half, able), product_rate(half))
