"""Measured rows: a line of a table of measurements becomes a `Row` in SI units, or a reason why it cannot be used."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pertoken.calibrate.cells import PLAIN, UNKNOWN, Refused, clean, number, optional, watts, whole
from pertoken.calibrate.names import Names
from pertoken.calibrate.spelling import engine_of, metric_of, split_of, words_of

COLUMNS = (
    "source", "url_or_repo_path", "date", "engine", "engine_version", "model", "gpu", "n_gpus", "tp", "pp", "ep", "dp",
    "weight_dtype", "kv_dtype", "isl", "osl", "concurrency_or_max_batch", "request_rate", "metric", "throughput", "ttft_ms",
    "tpot_ms", "notes",
)  # fmt: skip
NEEDED = ("model", "gpu", "n_gpus")
WHO = ("source", "url_or_repo_path", "notes")
SETTINGS = (
    "mixed", "host_step", "host_sequence", "token_budget", "max_sequences", "memory_fraction", "graph_sequences", "look_steps",
    "wait_steps", "balance_steps", "prompt_launch", "expert_kernels",
)  # fmt: skip
METRICS = ("ttft", "tpot", "throughput", "energy")
UNITS = {"ttft": "s", "tpot": "s", "throughput": "token/s", "energy": "J/output token"}
LOADS = ("closed", "alone", "static", "burst", "open", "saturated")
REGIMES = ("batch 1", "mid", "saturated", "open loop", "static batch")
BUSY = 128  # requests in flight above which a closed loop counts as saturated
_RANGE = re.compile(r"random_range_ratio ([01](?:\.[0-9]+)?)")
_REQUESTS = re.compile(r"does not set engine batch: ([0-9]+) requests")
_QPS = re.compile(r"scheduled_qps=([0-9.]+)")
_OUT = re.compile(r"mean_out_tokens_per_sample=([0-9.]+)")
_TOTAL = re.compile(r"total_tok_s=([0-9.]+)")
_ELAPSED = re.compile(r"elapsed_s=([0-9.]+)")
_TDP = re.compile(r"average_power/TDP=([0-9.]+)")
_LATENCY = re.compile(r"(?:e2e_ms=([0-9.]+)|latency_s=([0-9.]+))")
# what a cell may hold before it is taken for another unit
_LIMITS = {
    "ttft_ms": (0.5, 3.6e6, "milliseconds"), "tpot_ms": (0.1, 1e5, "milliseconds"), "throughput": (1e-3, 1e9, "tokens/s"),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One measurement of a deployment under a load.

    Parameters
    ----------
    line : int
        Line in its file.
    cells : mapping
        As read.
    engine, model, accelerator : str
        Engine profile, and the model's and accelerator's names as the catalog is to be asked for them.
    count : int
        Accelerators.
    split : mapping of str to int
        Those of tp, pp, ep, dp that are stated.
    weights, kv : str
        Formats; empty when the checkpoint's are to be assumed. ``fp8_block`` is fp8 with block scales.
    input, output : str
        Lengths, as `pertoken.serving.trace.parse_distribution` reads them [token].
    load : str
        One of `LOADS`.
    amount : float
        Requests in flight, sequences of the batch or burst, or requests/s.
    measured : mapping of str to float
        Figures by metric, SI units.
    counts : str
        What throughput counts: ``output``, ``total`` or ``requests``.
    goals : tuple of float
        TTFT and TPOT that a saturated load must keep [s].
    power_share : float
        Measured mean power over board power; NaN when not measured.
    requests : float
        Requests of an offline run; NaN when not documented.
    settings : mapping of str to float
        Figures of the engine's profile that the source's documents give, by name.
    flag : str
        Why the row is kept out of statistics; empty when it is not.
    assumed : tuple of str
        What the row does not state.
    """

    line: int
    cells: Mapping[str, str]
    engine: str
    model: str
    accelerator: str
    count: int
    split: Mapping[str, int]
    weights: str
    kv: str
    input: str
    output: str
    load: str
    amount: float
    measured: Mapping[str, float]
    counts: str = "output"
    goals: tuple[float, float] = (math.inf, math.inf)
    power_share: float = math.nan
    watts: float = math.nan
    latency_s: float = math.nan
    requests: float = math.nan
    settings: Mapping[str, float] = field(default_factory=dict)
    flag: str = ""
    assumed: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The engine's version as stated."""
        return self.cells.get("engine_version", "").strip()

    @property
    def date(self) -> str:
        """Day of the measurement, ``2025-10-29``, as far as stated."""
        return self.cells.get("date", "").strip()

    @property
    def source(self) -> str:
        """Whose measurement it is."""
        return self.cells.get("source", "").strip() or "unnamed"

    @property
    def regime(self) -> str:
        """One of `REGIMES`."""
        if self.load == "closed":
            return "batch 1" if self.amount <= 1 else "saturated" if self.amount > BUSY else "mid"
        return {"alone": "batch 1", "static": "static batch", "open": "open loop"}.get(self.load, "saturated")


def states_enough(cells: Mapping[str, str], names: Names) -> bool:
    """Whether a row with a figure states model, accelerator, count and lengths, its data set's documented ones included."""
    if all(cells.get(key, "").lower() in UNKNOWN for key in _LIMITS):
        return False
    if any(cells.get(key, "").lower() in (*UNKNOWN, "0") for key in NEEDED):
        return False
    return all(cells.get(key, "").lower() not in UNKNOWN for key in ("isl", "osl")) or "input" in (
        _dataset(cells, names) or {}
    )


def _matches(rule: Mapping[str, Any], cells: Mapping[str, str]) -> bool:
    """Whether every column that a rule names holds one of the rule's words, or is one of its numbers.

    ``who`` stands for the columns that tell whose row it is.
    """
    told = {**cells, "who": " ".join(cells.get(key, "") for key in WHO)}
    wanted = {
        key: words if isinstance(words, list) else [words] for key, words in rule.items() if key in (*COLUMNS, "who")
    }
    return bool(wanted) and all(
        any(_holds(told.get(key, "").lower(), word) for word in words) for key, words in wanted.items()
    )


def _holds(cell: str, word: object) -> bool:
    if isinstance(word, int | float):
        return bool(PLAIN.fullmatch(cell)) and float(cell) == word
    return str(word).lower() in cell


def _dataset(cells: Mapping[str, str], names: Names) -> Mapping[str, Any] | None:
    return next((rule for rule in names.datasets if _matches(rule, cells)), None)


def _range(cells: Mapping[str, str], names: Names, assumed: list[str]) -> float:
    """Share of the stated lengths from which a row's are uniform, as it or its source says; 1 where they are fixed."""
    if found := _RANGE.search(cells.get("notes", "")):
        return float(found[1])
    for rule in names.settings:
        if "range_ratio" in rule and _matches(rule, cells):
            assumed.append(str(rule["note"]))
            return float(rule["range_ratio"])
    return 1.0


def _lengths(cells: Mapping[str, str], names: Names, assumed: list[str]) -> tuple[str, str]:
    """Input and output lengths as texts."""
    found = {key: number(cells, key, 1, 1e9, "tokens") for key in ("isl", "osl")}
    given = _dataset(cells, names)
    notes = cells.get("notes", "")
    if found["isl"] and found["osl"]:
        low = _range(cells, names, assumed)
        if low == 1.0:
            return f"{found['isl']:.0f}", f"{found['osl']:.0f}"
        return tuple(f"uniform:{max(1.0, low * v):.0f}-{v:.0f}" for v in (found["isl"], found["osl"]))  # type: ignore[return-value]
    if given is not None and "input" not in given:
        raise Refused(f"the data set's mean input length is not documented ({given['note']})", "unstated")
    if given is None:
        raise Refused("no input and output lengths, and no data set whose lengths are documented", "unstated")
    assumed.append(str(given["note"]))
    means, most = _own_means(cells), given.get("most_output")
    output = means[1] or (float(m[1]) if (m := _OUT.search(notes)) else float(given["output"]))
    if most:
        spread = f"uniform:{max(1.0, 2.0 * output - most):.0f}-{most:.0f}" if output < most else f"{most:.0f}"
    else:
        spread = f"{output:.1f}"
    first = f"{means[0]:.0f}" if means[0] else str(given["input"])
    return first, spread


def _own_means(cells: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Mean lengths that a row's own totals imply: throughputs x elapsed time over requests."""
    notes, output = cells.get("notes", ""), number(cells, "throughput", 1e-3, 1e9, "tokens/s")
    elapsed, requests, total = _ELAPSED.search(notes), _REQUESTS.search(notes), _TOTAL.search(notes)
    if not (elapsed and requests and output):
        return None, None
    each = float(elapsed[1]) / float(requests[1])
    fresh = (float(total[1]) - output) * each if total else None
    return fresh, max(1.0, output * each)


def _engine(cells: Mapping[str, str], names: Names, assumed: list[str]) -> str:
    text = cells.get("engine", "").lower()
    own, other = engine_of(text, names.engines), engine_of(text, names.stand_ins) or "vllm"
    if not own:
        assumed.append(f"engine {text[:40] or 'not stated'}: modelled as {other}")
    return own or other


def _format(text: str, names: Names) -> str:
    """A weight format: ``fp8``, ``gemm=fp8;moe=fp8_block`` (the experts hold most weights and decide), or empty."""
    text = text.lower()
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    text = parts.get("moe") or parts.get("gemm") or text
    return names.dtypes.get(text, names.dtypes.get(words_of(text), text))


def _load(
    cells: Mapping[str, str], names: Names, metric: Mapping[str, Any], measured: Mapping[str, float], assumed: list[str]
) -> tuple[str, float]:
    """Kind of load and its amount; where nothing tells it, throughput is of a full engine and times are of one request."""
    notes = cells.get("notes", "")
    kind = str(next((rule["load"] for rule in names.notes if _matches(rule, cells)), metric.get("load", "")))
    batch = number(cells, "concurrency_or_max_batch", 1, 1e6, "requests")
    rate = cells.get("request_rate", "").lower()
    if not kind:
        steady = "closed" if batch else "saturated" if rate else ""
        kind = "open" if rate and rate not in ("inf", "infinity") else steady
    if kind == "open":
        stated = number(cells, "request_rate", 1e-9, 1e9, "requests/s") or (
            float(q[1]) if (q := _QPS.search(notes)) else None
        )
        if stated is None:
            raise Refused("no request rate", "unstated")
        return kind, stated
    if kind == "burst":
        found = _REQUESTS.search(notes)
        if not found or int(found[1]) < 1:
            raise Refused("a burst of unstated size", "unstated")
        return kind, float(found[1])
    if kind in ("closed", "static"):
        if batch is None:
            raise Refused("no concurrency or batch", "unstated")
        return kind, batch
    if kind not in LOADS:
        kind = "saturated" if "throughput" in measured else "alone"
        assumed.append(
            f"neither concurrency, batch nor rate: {'a full engine' if kind == 'saturated' else 'one request'}"
        )
    return kind, 1.0 if kind == "alone" else 0.0


def _measured(cells: Mapping[str, str], metric: Mapping[str, Any], count: int) -> dict[str, float]:
    """Figures in SI units."""
    found: dict[str, float] = {}
    for key, name, unit in (("ttft_ms", "ttft", 1e-3), ("tpot_ms", "tpot", 1e-3), ("throughput", "throughput", 1.0)):
        value = number(cells, key, *_LIMITS[key])
        if value is not None:
            found[name] = value * unit
    if "throughput" in found:
        found = _counted(found, metric, count)
    if not found:
        raise Refused("no figure: throughput, ttft_ms and tpot_ms are blank", "unstated")
    return found


def _counted(found: dict[str, float], metric: Mapping[str, Any], count: int) -> dict[str, float]:
    """Figures with what the metric says of the throughput among them."""
    value = found["throughput"]
    rest = {name: v for name, v in found.items() if name != "throughput"}
    if metric.get("refuse"):
        if not rest:
            raise Refused(str(metric["refuse"]), "unmodelled")
        return rest  # TTFT and TPOT of the row stand all the same
    if metric.get("latency") and not rest:
        raise Refused("metric names a time, but its figure stands in throughput: use ttft_ms or tpot_ms", "unreadable")
    value *= count if metric.get("per") == "accelerator" else 1.0
    if metric.get("counts") == "joules":
        return {"energy": value} | rest
    if metric.get("counts") == "user":
        return {"tpot": 1.0 / value} | rest
    return rest | {"throughput": value}


def read_row(line: int, raw: Mapping[str, object], names: Names) -> Row:
    """Turn a line into a `Row`.

    Parameters
    ----------
    line : int
        Its number.
    raw : mapping
        Cells by column, see `COLUMNS`; blank is unknown.
    names : Names
        Spellings.

    Raises
    ------
    Refused
        With the reason.
    """
    cells = {key: clean(raw.get(key)) for key in COLUMNS}
    if "mode=disagg" in cells["notes"]:
        raise Refused("disaggregated pools are not modelled", "unmodelled")
    if raw.get(""):
        raise Refused("more cells than the header has: is a separator not quoted?", "unreadable", str(raw[""])[:40])
    for key in NEEDED:
        if cells[key].lower() in (*UNKNOWN, "0"):
            raise Refused(f"{key} is not stated", "unstated")
    count = whole(cells, "n_gpus")
    if not count:
        raise Refused("n_gpus is not stated", "unstated")
    assumed: list[str] = []
    told = cells | {"engine": f"{cells['engine']} {engine_of(cells['engine'].lower(), names.engines)}"}
    metric = metric_of(cells["metric"], names.metrics, names.metric_words)
    measured = _measured(cells, metric, count)
    if "throughput" in measured and "counts" not in metric:
        assumed.append("throughput counts output tokens")
    load, amount = _load(cells, names, metric, measured, assumed)
    first, second = _lengths(cells, names, assumed)
    split = {key: value for key in ("tp", "pp", "ep", "dp") if (value := whole(cells, key))}
    split = split if "tp" in split else split_of(cells["notes"], count) | split
    model, weights, kv = _served(told, names, assumed)
    goals = next(((r["ttft_s"], r["tpot_s"]) for r in names.datasets if _matches(r, cells) and "ttft_s" in r), None)
    server = "scenario=Server" in cells["notes"] or "scenario=Interactive" in cells["notes"]
    return Row(
        line=line, cells=cells, engine=_engine(cells, names, assumed), model=names.checkpoints.get(f"{model}/{weights}", model),
        accelerator=names.spelling.accelerator(cells["gpu"]) or cells["gpu"], count=count, split=split, weights=weights,
        kv=kv, input=first, output=second, load=load, amount=amount, measured=measured,
        counts=str(metric.get("counts", "output")), goals=goals if goals and server else (math.inf, math.inf),
        power_share=optional(_TDP, cells["notes"]), watts=watts(cells["notes"], count),
        latency_s=optional(_LATENCY, cells["notes"]), requests=_run(cells, names),
        settings=_settings(told, names, assumed), flag=_flag(cells, names), assumed=tuple(assumed),
    )  # fmt: skip


def _served(cells: Mapping[str, str], names: Names, assumed: list[str]) -> tuple[str, str, str]:
    """The model and the formats of its weights and cache, with the rules that fill in what rows leave out."""
    weights, kv = _format(cells["weight_dtype"], names), _format(cells["kv_dtype"], names)
    weights = next((str(rule["use"]) for rule in names.formats if _matches(rule, cells)), weights)
    kv = "fp8" if kv == "fp8_block" else kv
    if kv in names.caches:
        assumed.append(f"KV cache in {kv}, timed as {names.caches[kv]}")
        kv = names.caches[kv]
    model = names.spelling.model(cells["model"]) or cells["model"].lower()
    told = "" if weights else names.spelling.format_in(cells["model"])
    if told:
        weights = told
        assumed.append(f"weights in {told}, as the model's name says")
    for rule in names.settings:
        if not kv and "kv" in rule and _matches(rule, {**cells, "weight_dtype": told or cells["weight_dtype"]}):
            kv = str(rule["kv"])
            assumed.append(str(rule["note"]))
    for rule in names.instead:
        if _matches(rule, cells):
            model = str(rule["use"])
            assumed.append(str(rule["note"]))
    return model, weights, kv


def _settings(cells: Mapping[str, str], names: Names, assumed: list[str]) -> dict[str, float]:
    """Figures of the engine's profile that the source documents for rows like this."""
    found: dict[str, float] = {}
    for rule in names.settings:
        if not _matches(rule, cells):
            continue
        given = {key: float(value) for key, value in rule.items() if key in SETTINGS and key not in found}
        if "budget_past_input" in rule and "token_budget" not in found:
            tokens = [number(cells, key, 0, 1e9, "tokens") or 0.0 for key in ("isl", "concurrency_or_max_batch")]
            given["token_budget"] = sum(tokens) + float(rule["budget_past_input"])
        if given:
            found |= given
            assumed.append(str(rule["note"]))
    return found


def _run(cells: Mapping[str, str], names: Names) -> float:
    return next((float(rule["requests"]) for rule in names.runs if _matches(rule, cells)), math.nan)


def _flag(cells: Mapping[str, str], names: Names) -> str:
    return next((str(rule["reason"]) for rule in names.flags if _matches(rule, cells)), "")
