"""Kernel efficiencies: the share of a datasheet peak that an operation of a given shape reaches.

The engine times an operation as ``t = max(flop / (P e_c), bytes / (W e_m)) + launch``, with P and W the dense datasheet
peaks. Each efficiency below is a peak share divided by ``1 + half / size`` factors: ``half`` is the size at which the
factor has halved, so every parameter can be read, every form is smooth and monotone, and no exponential is taken.

A ``half`` is work that comes whatever the size: ``m_half`` rows of padding in a tile, ``n_half`` columns' worth of work
on the input (quantising it, reading it again), ``bytes_half`` bytes' worth of ramp at the start of a read. The halves
are fitted to measured operators, see `pertoken.calibrate`; the fit times fp8 and fp4 products *with* the quantisation
of their half-precision input.

References
----------
.. [1] Williams, Waterman and Patterson 2009, doi:10.1145/1498765.1498785 (roofline).
.. [2] Klenk et al. 2020, ISCA, doi:10.1109/ISCA45697.2020.00085 (in-network reduction on NVLink-connected accelerators).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from pertoken.engine.factor import EngineFactor, factors_from_dict
from pertoken.errors import PertokenError

Number = Any

_SHARES = ("peak", "bandwidth")
_MOST_SECONDS = 1e-2


def _check(record: Any) -> None:
    """Refuse shares outside (0, 1], negative halves and launch times that are no launch times."""
    kind = type(record).__name__
    for f in fields(record):
        value = getattr(record, f.name)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise PertokenError(f"{kind}: {f.name} is {str(value)[:40]!r}; it must be a finite number")
        if f.name in _SHARES and not 0.0 < value <= 1.0:
            raise PertokenError(f"{kind}: {f.name} is {value:g}; it must be a share of the datasheet peak in (0, 1]")
        if f.name.endswith("_s") and not 0.0 <= value <= _MOST_SECONDS:
            raise PertokenError(f"{kind}: {f.name} is {value:g} s; it must be within 0 and {_MOST_SECONDS:g} s")
        if value < 0.0:
            raise PertokenError(f"{kind}: {f.name} is {value:g}; it must be 0 or more")


@dataclass(frozen=True)
class MatmulEfficiency:
    """A weight matrix (k, n) times m tokens; or the gate, up and down products of routed experts as one grouped product.

    Of experts, m is tokens per touched expert, n the inner width on a rank, k the model width, and the launch covers the
    routing kernels around the products.

    Parameters
    ----------
    peak : float
        Share of the dense arithmetic peak at large sizes [1].
    m_half, n_half, k_half : float
        Tokens, output width and input width at which it halves: padding of a tile's rows, work on the input (its
        quantisation included), work on the output [1].
    bandwidth : float
        Share of the memory rate at large sizes [1].
    bytes_half : float
        Bytes at which it halves [byte].
    launch_s : float
        Seconds that overlap with nothing [s].
    """

    peak: float
    m_half: float
    n_half: float
    k_half: float
    bandwidth: float
    bytes_half: float
    launch_s: float

    def __post_init__(self) -> None:
        _check(self)

    def compute(self, m: Number, n: Number, k: Number) -> Number:
        """Share of the arithmetic peak [1]: ``peak / ((1 + m_half/m)(1 + n_half/n)(1 + k_half/k))``."""
        wide = self.peak * n * k / ((n + self.n_half) * (k + self.k_half))  # alike for all m, so one array pass less
        return wide * m / (m + self.m_half)

    def memory(self, size: Number) -> Number:
        """Share of the memory rate [1]: ``bandwidth / (1 + bytes_half/size)``, for ``size`` bytes [byte]."""
        return self.bandwidth * size / (size + self.bytes_half)


@dataclass(frozen=True)
class AttentionEfficiency:
    """Grouped-query attention, one phase (prefill or decode) at one cache precision.

    Parameters
    ----------
    peak : float
        Share of the *half-precision* dense peak, also with an fp8 cache, for wide heads over many positions [1].
    pairs_half : float
        Attended positions per new token at which it halves: work per token that does not depend on context [1].
    dim_half : float
        Head width at which it halves [1].
    bandwidth : float
        Share of the memory rate at large sizes [1].
    bytes_half : float
        Bytes, over the batch, at which it halves [byte].
    context_half : float
        Positions of one sequence at which it halves [1].
    launch_s : float
        Seconds that overlap with nothing, once for the whole batch [s].
    """

    peak: float
    pairs_half: float
    dim_half: float
    bandwidth: float
    bytes_half: float
    context_half: float
    launch_s: float

    def __post_init__(self) -> None:
        _check(self)

    def compute(self, new: Number, context: Number = 0.0, head_dim: Number = 128.0) -> Number:
        """Share of the half-precision peak [1], for ``new`` tokens of each sequence after ``context`` others.

        With a sliding window pass the ``context`` for which ``context + (new + 1)/2`` is the mean number attended.
        """
        pairs = context + 0.5 * (new + 1.0)
        return self.peak * pairs * head_dim / ((pairs + self.pairs_half) * (head_dim + self.dim_half))

    def memory(self, size: Number, context: Number = math.inf) -> Number:
        """Share of the memory rate [1], for ``size`` bytes over the batch [byte] and ``context`` positions of each."""
        return self.bandwidth / (1.0 + self.bytes_half / size + self.context_half / context)


@dataclass(frozen=True)
class LatentEfficiency:
    """Latent attention (MLA), one phase at one cache precision: expanded in prefill, absorbed in decode.

    Parameters
    ----------
    peak, pairs_half, bandwidth, bytes_half, context_half, launch_s : float
        As in `AttentionEfficiency`. The absorbed form counts ``2 H (d_c + d_r) + 2 H d_c`` FLOP for each pair.
    heads_half : float
        Heads on one rank at which the arithmetic halves: a tile is padded to a fixed number of heads [1].
    """

    peak: float
    pairs_half: float
    heads_half: float
    bandwidth: float
    bytes_half: float
    context_half: float
    launch_s: float

    def __post_init__(self) -> None:
        _check(self)

    def compute(self, new: Number, context: Number = 0.0, heads: Number = 128.0) -> Number:
        """Share of the half-precision peak [1], for ``new`` tokens after ``context`` others and ``heads`` per rank."""
        pairs = context + 0.5 * (new + 1.0)
        return self.peak * pairs * heads / ((pairs + self.pairs_half) * (heads + self.heads_half))

    def memory(self, size: Number, context: Number = math.inf) -> Number:
        """Share of the memory rate [1], for ``size`` bytes over the batch [byte] and ``context`` positions of each."""
        return self.bandwidth / (1.0 + self.bytes_half / size + self.context_half / context)


@dataclass(frozen=True)
class CollectiveEfficiency:
    """One collective over the scale-up link.

    Protocols for small and large messages follow each other, so the ramp is slower than a matmul's: a square root. Of two
    algorithms an all-reduce takes the faster: at once, where every rank sends all of it to every other, or in two passes of
    parts, which wait for each other. A switch that adds [2]_ turns ``2 (p - 1) / p`` passes into ``(p + 1) / p``.

    Parameters
    ----------
    latency_s, hop_s : float
        Seconds of the smallest message: ``latency_s + (p - 1) hop_s`` over p ranks [s].
    bandwidth : float
        Share of the link's one-way rate at large messages [1].
    bytes_half : float
        Link bytes at which it halves [byte].
    contention : float
        Loss for each rank past the second, ``1 / (1 + contention (p - 2))``: 0 on a switched link, about 1.5 where
        ranks share a host's PCIe and socket links [1].
    direct : float
        Share of the link's one-way rate of an all-reduce at once; 0 where there is none [1].
    sync_s : float
        What the second pass waits for [s].
    in_switch : bool
        Whether the switch adds.
    """

    latency_s: float
    hop_s: float
    bandwidth: float
    bytes_half: float
    contention: float = 0.0
    direct: float = 0.0
    sync_s: float = 0.0
    in_switch: bool = False

    def __post_init__(self) -> None:
        _check(self)

    def latency(self, ranks: Number) -> Number:
        """Seconds that do not depend on the message [s]."""
        return self.latency_s + (ranks - 1.0) * self.hop_s

    def link(self, size: Number, ranks: Number = 2.0) -> Number:
        """Share of the link's one-way rate [1], for ``size`` link bytes per rank [byte], above 0."""
        return self.bandwidth / ((1.0 + (self.bytes_half / size) ** 0.5) * (1.0 + self.contention * (ranks - 2.0)))

    def transfer(self, size: Number, ranks: Number, rate: Number) -> Number:
        """Seconds on the link for ``size`` bytes that a rank of a ring would send [byte], ``rate`` one-way [byte/s]."""
        most = np.minimum(1.0, (ranks + 1.0) / (2.0 * np.maximum(ranks - 1.0, 1.0)))
        sent = size * most if self.in_switch else size
        passed = sent / (rate * self.link(np.maximum(sent, 1.0), ranks))
        if not self.direct:
            return passed
        return np.minimum(self.sync_s + passed, size * ranks / (2.0 * rate * self.direct))

    def seconds(self, size: Number, ranks: Number, rate: Number) -> Number:
        """The same and what does not depend on the message [s]."""
        return self.latency(ranks) + self.transfer(size, ranks, rate)


@dataclass(frozen=True)
class Residual:
    """Quantiles of log(measured / predicted) over the rows of a fit, all frameworks kept together [1]."""

    q05: float
    q50: float
    q95: float
    rows: float

    def __post_init__(self) -> None:
        if not self.q05 <= self.q50 <= self.q95:
            raise PertokenError(f"residual quantiles {self.q05:g}, {self.q50:g}, {self.q95:g} must not fall")
        if not self.rows >= 1:
            raise PertokenError(f"residual has {self.rows:g} rows; it must have 1 or more")


_DICTS: dict[str, type] = {
    "matmul": MatmulEfficiency,
    "experts": MatmulEfficiency,
    "prefill": AttentionEfficiency,
    "decode": AttentionEfficiency,
    "latent_prefill": LatentEfficiency,
    "latent_decode": LatentEfficiency,
    "collective": CollectiveEfficiency,
    "residuals": Residual,
}


@dataclass(frozen=True)
class Efficiency:
    """Everything fitted on one accelerator.

    Parameters
    ----------
    accelerator : str
        Catalog name.
    matmul, experts : mapping of str to MatmulEfficiency
        By weight format: bf16, fp8 (a scale per tensor or token), fp8_block (128 x 128 blocks), nvfp4, int8, ...
    prefill, decode, latent_prefill, latent_decode : mapping of str to AttentionEfficiency or LatentEfficiency
        By cache format: bf16 or fp8.
    collective : mapping of str to CollectiveEfficiency
        all_reduce, all_gather, reduce_scatter, all_to_all.
    arithmetic : mapping of str to str
        The datasheet peak that the compute shares of a weight format refer to.
    peaks : mapping of str to float
        Datasheet peaks used in the fit, by arithmetic [FLOP/s], ``memory`` and ``link`` [byte/s].
    residuals : mapping of str to Residual
        Spread of each fit, by ``matmul.bf16`` and so on.
    tables : tuple of str
        What taught it: wheel, system, framework, version, table, rows.
    elementwise : float or None
        Share of the memory rate in operations that only move activations [1]; None when not measured.
    engines : mapping of str to mapping of str to EngineFactor
        By engine and by ``matmul.fp8`` and so on, where an engine's own kernel was measured and differs from the fit.
    """

    accelerator: str
    matmul: Mapping[str, MatmulEfficiency] = field(default_factory=dict)
    experts: Mapping[str, MatmulEfficiency] = field(default_factory=dict)
    prefill: Mapping[str, AttentionEfficiency] = field(default_factory=dict)
    decode: Mapping[str, AttentionEfficiency] = field(default_factory=dict)
    latent_prefill: Mapping[str, LatentEfficiency] = field(default_factory=dict)
    latent_decode: Mapping[str, LatentEfficiency] = field(default_factory=dict)
    collective: Mapping[str, CollectiveEfficiency] = field(default_factory=dict)
    arithmetic: Mapping[str, str] = field(default_factory=dict)
    peaks: Mapping[str, float] = field(default_factory=dict)
    residuals: Mapping[str, Residual] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    elementwise: float | None = None
    engines: Mapping[str, Mapping[str, EngineFactor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.elementwise is not None and not 0.0 < self.elementwise <= 1.0:
            raise PertokenError(f"{self.accelerator}: elementwise is {self.elementwise:g}; it must be in (0, 1]")

    def pick(self, group: str, key: str) -> Any:
        """One fitted efficiency, such as ``pick("matmul", "fp8")``.

        Raises
        ------
        PertokenError
            When nothing was measured for it; there is no silent default.
        """
        known = getattr(self, group)
        if key not in known:
            has = ", ".join(known) or "none"
            raise PertokenError(f"{self.accelerator} has no measured {group} efficiency for {key!r} (it has {has})")
        return known[key]


def efficiency_from_dict(table: Mapping[str, Any]) -> Efficiency:
    """Read an Efficiency from the content of its TOML file.

    Raises
    ------
    PertokenError
        Naming the key that is unknown, missing or out of range.
    """
    name = table.get("accelerator")
    if not isinstance(name, str):
        raise PertokenError(f"accelerator is {str(name)[:40]!r}; an efficiency file must name its accelerator")
    allowed = {f.name for f in fields(Efficiency)} | {"sources"}
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise PertokenError(f"efficiency of {name}: unknown key {unknown[0]!r}; it must be one of {sorted(allowed)}")
    made: dict[str, Any] = {
        group: {key: _record(kind, row, f"{name}: {group}.{key}") for key, row in table.get(group, {}).items()}
        for group, kind in _DICTS.items()
    }
    made["engines"] = factors_from_dict(table.get("engines", {}), name)
    rest = {key: table[key] for key in ("arithmetic", "peaks", "elementwise") if key in table}
    return Efficiency(accelerator=name, tables=tuple(table.get("tables", ())), **made, **rest)


def _record(kind: type, row: Any, where: str) -> Any:
    names = {f.name for f in fields(kind)}
    if not isinstance(row, Mapping) or not set(row) <= names:
        raise PertokenError(f"{where}: its keys must be among {sorted(names)}")
    try:
        return kind(**row)
    except TypeError as error:
        raise PertokenError(f"{where}: a key is missing; it must have {sorted(names)}") from error
    except PertokenError as error:
        raise PertokenError(f"{where}: {error}") from error
