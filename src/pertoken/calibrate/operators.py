"""Read measured operator tables into plain arrays: shapes, counts and seconds.

The tables are those of the ``aiconfigurator-core`` wheel, ``<system>/<op>/<framework>/<version>/<table>.parquet``, and those
of older engines in the wheel ``aiconfigurator``, ``<system>/<framework>/<version>/<table>.txt``; in wheels or unpacked
folders. Latencies are milliseconds.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertoken.errors import PertokenError

Array = NDArray[np.float64]

MILLI = 1e-3
_PATH = re.compile(r"systems/data/([^/]+)/([^/]+)/([^/]+)/([^/]+)/([^/]+)\.parquet$")
_TEXT = re.compile(r"systems/data/([^/]+)/([^/]+)/([^/]+)/([^/]+)\.txt$")
# of the tables in text, those that are read, and the operator that each is of
_OPS = {
    "gemm_perf": "gemm", "moe_perf": "moe", "context_attention_perf": "attention", "generation_attention_perf": "attention",
    "context_mla_perf": "mla", "generation_mla_perf": "mla", "custom_allreduce_perf": "comm", "nccl_perf": "comm",
}  # fmt: skip
CATALOG_NAMES = {
    "a100_sxm": "a100-sxm-80gb",
    "h100_sxm": "h100-sxm",
    "h200_sxm": "h200-sxm",
    "b200_sxm": "b200-sxm",
    "b300_sxm": "b300-sxm",
    "gb200": "gb200",
    "gb300": "gb300",
    "l40s": "l40s",
    "rtx_pro_6000_server": "rtx-pro-6000-server",
    "b60": "arc-pro-b60",
}


@dataclass(frozen=True)
class Form:
    """How a table's dtype is stored and computed: key, arithmetic, bytes per weight and input element with scales."""

    key: str
    arithmetic: tuple[str, ...]
    weight: float
    entry: float


_HALF = ("bf16", "fp16")
FORMS = {
    "bfloat16": Form("bf16", _HALF, 2.0, 2.0),
    "fp8": Form("fp8", ("fp8",), 1.0, 1.0),
    "fp8_block": Form("fp8_block", ("fp8",), 1.0, 1.0),
    "nvfp4": Form("nvfp4", ("nvfp4", "fp4"), 0.5625, 0.5625),
    "sq": Form("int8", ("int8",), 1.0, 1.0),
    "int8_wo": Form("w8a16", _HALF, 1.015625, 2.0),
    "int4_wo": Form("int4", _HALF, 0.515625, 2.0),
    "w4a16_mxfp4": Form("w4a16_mxfp4", _HALF, 0.53125, 2.0),
    "w4a8_mxfp4_mxfp8": Form("w4a8_mxfp4", ("fp8",), 0.53125, 1.03125),
}
CACHE = {"bfloat16": ("bf16", 2.0), "fp8": ("fp8", 1.0)}


@dataclass(frozen=True)
class Table:
    """One measured table: where it came from and how to read its columns."""

    origin: str
    system: str
    op: str
    framework: str
    version: str
    name: str
    data: Path
    inner: str = ""

    def read(self) -> dict[str, NDArray[Any]]:
        """Columns as arrays."""
        try:
            from pyarrow import csv, parquet
        except ImportError as error:
            raise PertokenError("operator tables are parquet; to read them: pip install pyarrow") from error
        source: Any = self.data
        if self.inner:
            with zipfile.ZipFile(self.data) as wheel:
                source = io.BytesIO(wheel.read(self.inner))
        if not self.text:
            table = parquet.read_table(source)
            return {name: table[name].to_numpy() for name in table.column_names}
        table = csv.read_csv(source)
        columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
        columns.setdefault("op_name", np.array([self.name.removesuffix("_perf")] * table.num_rows))
        # half precision is called float16 there, whichever of the two it is
        return {n: np.where(c == "float16", "bfloat16", c) if n.endswith("_dtype") else c for n, c in columns.items()}

    @property
    def text(self) -> bool:
        """Whether it is one of the older tables in text."""
        return (self.inner or self.data.name).endswith(".txt")

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.read().values())))

    @property
    def label(self) -> str:
        """Wheel, system, framework, version and table in one line."""
        return f"{self.origin} {self.system} {self.framework} {self.version} {self.name}"


@dataclass(frozen=True)
class Samples:
    """Measured rows of one operator at one dtype on one system.

    Parameters
    ----------
    group, key : str
        Such as ``matmul`` and ``fp8``.
    shape : dict of str to ndarray
        Features, all of one length.
    seconds : ndarray
        Measured [s].
    teacher : ndarray
        Which entry of ``labels`` each row came from.
    labels : tuple of str
        Tables.
    """

    group: str
    key: str
    shape: dict[str, Array]
    seconds: Array
    teacher: NDArray[np.int64]
    labels: tuple[str, ...]

    def take(self, rows: NDArray[Any]) -> Samples:
        """The same with some of the rows."""
        shape = {name: value[rows] for name, value in self.shape.items()}
        return Samples(self.group, self.key, shape, self.seconds[rows], self.teacher[rows], self.labels)


def tables(places: Sequence[Path]) -> list[Table]:
    """All operator tables found in wheels or folders.

    Raises
    ------
    PertokenError
        When a place has none.
    """
    found: list[Table] = []
    for place in places:
        here = list(_in_wheel(place) if place.is_file() else _in_folder(place))
        if not here:
            raise PertokenError(f"{place} has no operator tables; give the aiconfigurator-core wheel or its folder")
        found += here
    return found


def _in_wheel(place: Path) -> Iterator[Table]:
    origin = "==".join(place.name.split("-")[:2]).replace("_", "-")
    with zipfile.ZipFile(place) as wheel:
        for inner in wheel.namelist():
            if place_of := _placed(inner):
                yield Table(origin, *place_of, place, inner)


def _in_folder(place: Path) -> Iterator[Table]:
    versions = [p.name.removesuffix(".dist-info") for p in place.glob("aiconfigurator*.dist-info")]
    origin = versions[0].replace("_", "-").replace("-", "==", 2).replace("==", "-", 1) if versions else place.name
    for path in sorted((*place.rglob("*.parquet"), *place.rglob("*_perf.txt"))):
        if place_of := _placed(path.as_posix()):
            yield Table(origin, *place_of, path)


def _placed(path: str) -> tuple[str, str, str, str, str] | None:
    """System, operator, framework, version and name of a table by its path."""
    if match := _PATH.search(path):
        system, op, framework, version, name = match.groups()
        return system, op, framework, version, name
    match = _TEXT.search(path)
    if match is None or match[4] not in _OPS:
        return None
    system = match[1] if match[1] in CATALOG_NAMES else match[1].removesuffix("_sxm")
    return system, _OPS[match[4]], match[2], match[3], match[4]


def newest(found: Sequence[Table], system: str, op: str, name: str) -> list[Table]:
    """For each framework, the newest version of a table that has at least half the rows of its fullest version."""
    by: dict[str, list[Table]] = {}
    for table in found:
        if (table.system, table.op, table.name) == (system, op, name):
            by.setdefault(table.framework, []).append(table)
    chosen = []
    for framework in sorted(by):
        versions = sorted(by[framework], key=lambda t: _order(t.version))
        rows = [t.rows for t in versions] if len(versions) > 1 else [1]
        chosen.append(next(t for t, n in zip(versions[::-1], rows[::-1], strict=True) if 2 * n >= max(rows)))
    return chosen


def _order(version: str) -> tuple[tuple[int, ...], int]:
    """Sort key: numbers, then release candidates before the release."""
    head, _, candidate = version.partition("rc")
    return tuple(int(n) for n in re.findall(r"\d+", head)), int(candidate) if candidate.isdigit() else 10**6


def gather(group: str, key: str, parts: Sequence[tuple[str, dict[str, Array], Array]]) -> Samples | None:
    """One set of samples from parts, each with its label; a shape measured twice in a part keeps its fastest kernel."""
    kept = [(label, *_fastest(shape, seconds)) for label, shape, seconds in parts if len(seconds)]
    if not kept:
        return None
    names = list(kept[0][1])
    return Samples(
        group,
        key,
        {name: np.concatenate([shape[name] for _, shape, _ in kept]) for name in names},
        np.concatenate([seconds for _, _, seconds in kept]),
        np.concatenate([np.full(len(seconds), i) for i, (_, _, seconds) in enumerate(kept)]),
        tuple(label for label, _, _ in kept),
    )


def _fastest(shape: dict[str, Array], seconds: Array) -> tuple[dict[str, Array], Array]:
    order = np.argsort(seconds, kind="stable")
    rows = np.stack([value[order] for value in shape.values()])
    _, first = np.unique(rows, axis=1, return_index=True)
    chosen = order[first]
    return {name: value[chosen] for name, value in shape.items()}, seconds[chosen]


def floats(columns: dict[str, NDArray[Any]], keep: NDArray[np.bool_], *names: str) -> list[Array]:
    """Some columns of the kept rows, as floats."""
    return [columns[name][keep].astype(float) for name in names]


def matmul(found: Sequence[Table], system: str, dtype: str) -> Samples | None:
    """Matrix products of serving size: 256 and wider, up to 16,384 tokens and 65536 x 8192 weights."""
    form, parts = FORMS[dtype], []
    for table in newest(found, system, "gemm", "gemm_perf"):
        c = table.read()
        keep = (c["gemm_dtype"] == dtype) & (c["n"] >= 256) & (c["k"] >= 256) & (c["m"] <= 16384)
        keep &= (c["n"] * c["k"] <= 65536 * 8192) & (c["latency"] > 0)
        m, n, k, latency = floats(c, keep, "m", "n", "k", "latency")
        size = n * k * form.weight + m * k * form.entry + m * n * 2.0
        shape = {"m": m, "n": n, "k": k, "flop": 2.0 * m * n * k, "bytes": size}
        parts.append((table.label, shape, latency * MILLI))
    return gather("matmul", form.key, parts)


def experts(found: Sequence[Table], system: str, dtype: str, distribution: str = "balanced") -> Samples | None:
    """Gated experts held whole on one rank group (no expert parallelism), routed evenly.

    Models of two matrices per expert (a squared ReLU) are left out: the columns do not tell which rows those are, but
    their widths do. Some frameworks hand every rank all tokens under expert parallelism, so those rows say little.
    """
    form, parts = FORMS[dtype], []
    for table in newest(found, system, "moe", "moe_perf"):
        c = table.read()
        keep = (c["moe_dtype"] == dtype) & (c["moe_ep_size"] == 1) & (c["distribution"] == distribution)
        keep &= ~np.isin(c["hidden_size"], (1024, 2688)) & (c["topk"] != 22) & (c["latency"] > 0)
        keep &= np.array(["nongated" not in name for name in c["kernel_source"]])
        names = ("num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "latency")
        m, h, i, k, e, tp, latency = floats(c, keep, *names)
        inner = i / tp
        touched = np.minimum(e, m * k) if distribution == "balanced" else e * (1.0 - (1.0 - k / e) ** m)
        weights = touched * 3.0 * h * inner * form.weight
        size = weights + m * k * (h * (form.entry + 2.0) + 3.0 * inner * 2.0)
        shape = {"m": m * k / touched, "n": inner, "k": h, "flop": 6.0 * m * k * h * inner, "bytes": size}
        shape |= {"tokens": m, "active": k, "experts": e}
        parts.append((table.label, shape, latency * MILLI))
    return gather("experts", form.key, parts)


def attention(found: Sequence[Table], system: str, phase: str, cache: str) -> Samples | None:
    """Grouped-query attention; an fp8 cache takes the faster of fp8 and half-precision arithmetic."""
    key, element = CACHE[cache]
    parts, name = [], "context_attention_perf" if phase == "prefill" else "generation_attention_perf"
    for table in newest(found, system, "attention", name):
        c = table.read()
        window = c.get("window_size", np.zeros(len(c["latency"])))
        # 192 wide keys go with 128 wide values in some frameworks, which the columns do not tell
        keep = (c["kv_cache_dtype"] == cache) & np.isin(c["head_dim"], (64, 128, 256)) & (c["latency"] > 0)
        keep &= c["num_heads"] <= 16 * c["num_key_value_heads"]
        b, new, heads, groups, dim, step, latency = floats(
            c, keep, "batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim", "step", "latency"
        )
        w = window[keep].astype(float)
        w = np.where(w > 0, w, 1e12)
        if phase == "prefill":
            pairs = np.where(new <= w, 0.5 * (new + 1.0), w - 0.5 * w * (w - 1.0) / new)
            read = b * new * dim * 2.0 * groups * element
            tokens = b * new
        else:
            pairs = np.minimum(step + 1.0, w)
            read = b * pairs * dim * 2.0 * groups * element
            tokens = b
        shape = {"pairs": pairs, "dim": dim, "heads": heads, "flop": 4.0 * heads * dim * tokens * pairs, "bytes": read}
        parts.append((table.label, shape, latency * MILLI))
    return gather(phase, key, parts)


LATENT, ROPE, NOPE, VALUE = 512.0, 64.0, 128.0, 128.0  # DeepSeek-V2 and V3, the only shapes in the tables


def latent(found: Sequence[Table], system: str, phase: str, cache: str) -> Samples | None:
    """Latent attention: expanded in prefill, absorbed in decode."""
    key, element = CACHE[cache]
    parts = []
    for table in newest(found, system, "mla", f"{'context' if phase == 'prefill' else 'generation'}_mla_perf"):
        c = table.read()
        keep = (c["kv_cache_dtype"] == cache) & (c["num_heads"] >= 8) & (c["latency"] > 0)
        b, new, heads, step, latency = floats(c, keep, "batch_size", "isl", "num_heads", "step", "latency")
        if phase == "prefill":
            pairs, per_pair, tokens = 0.5 * (new + 1.0), 2.0 * (NOPE + ROPE) + 2.0 * VALUE, b * new
            read = b * new * (LATENT + ROPE) * element
        else:
            pairs, per_pair, tokens = step + 1.0, 2.0 * (LATENT + ROPE) + 2.0 * LATENT, b
            read = b * pairs * (LATENT + ROPE) * element
        shape = {"pairs": pairs, "heads": heads, "flop": per_pair * heads * tokens * pairs, "bytes": read}
        parts.append((table.label, shape, latency * MILLI))
    return gather(f"latent_{phase}", key, parts)


def collective(found: Sequence[Table], system: str, op: str) -> Samples | None:
    """Collectives in half precision; an all-reduce takes the faster of the library's and the framework's own kernel."""
    library = _messages(newest(found, system, "comm", "nccl_perf") or newest(found, system, "comm", "oneccl_perf"), op)
    parts = []
    own = newest(found, system, "comm", "custom_allreduce_perf") if op == "all_reduce" else []
    for label, times in [_messages([table], op) for table in own] or [library]:
        best = {at: min(t, library[1].get(at, t)) for at, t in times.items()}
        best |= {at: t for at, t in library[1].items() if at not in best}
        ranks, size = (np.array([at[i] for at in best], dtype=float) for i in (0, 1))
        moved = size * (ranks - 1.0) / ranks * (2.0 if op == "all_reduce" else 1.0)
        parts.append((label, {"ranks": ranks, "bytes": moved}, np.array(list(best.values()))))
    return gather("collective", "all_to_all" if op == "alltoall" else op, parts)


def _messages(found: Sequence[Table], op: str) -> tuple[str, dict[tuple[float, float], float]]:
    """Label and seconds by (ranks, message bytes), the fastest of what was measured."""
    times: dict[tuple[float, float], float] = {}
    for table in found:
        c = table.read()
        dtype = c[next(n for n in ("nccl_dtype", "oneccl_dtype", "allreduce_dtype") if n in c)]
        for name, kind, ranks, size, latency in zip(
            c["op_name"], dtype, c["num_gpus"], c["message_size"], c["latency"], strict=True
        ):
            at = (float(ranks), 2.0 * float(size))
            if name == op and kind in ("half", "bfloat16", "float16") and ranks > 1 and latency > 0:
                times[at] = min(times.get(at, np.inf), float(latency) * MILLI)
    return (found[0].label if found else ""), times


def elementwise(found: Sequence[Table], system: str, rate: float) -> float | None:
    """Share of the memory rate reached by casting large half-precision activations to fp8 (3 bytes an element)."""
    shares = []
    for table in newest(found, system, "quantize", "scale_matrix_perf"):
        c = table.read()
        size = 3.0 * c["m"].astype(float) * c["k"]
        keep = size > 2e8
        if keep.any():
            shares.append(float(np.median(size[keep] / (rate * c["latency"][keep] * MILLI))))
    fair = [share for share in shares if share <= 1.0]
    return max(fair) if fair else None
