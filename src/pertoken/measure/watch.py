"""Live counters of an engine: from two readings to tokens, dollars per token, utilisation and what is idle.

Each engine names its counters in its own way, and not all count cached tokens as part of the input; here they are, once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pertoken.errors import PertokenError
from pertoken.units import MILLION

_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+([^\s]+)(?:\s+[0-9]+)?\s*")
KINDS = ("input", "cached", "output")


@dataclass(frozen=True)
class Counters:
    """How an engine names what it counts; of several names the first that it has.

    Parameters
    ----------
    engine, versions, prefix : str
        Which, which versions have these names, and how all its names begin.
    input, cached, output : tuple of str
        Token counters.
    running, waiting : tuple of str
        Requests at work and in the queue.
    whole : bool
        Whether ``input`` counts cached tokens too.
    """

    engine: str
    versions: str
    prefix: str
    input: tuple[str, ...]
    cached: tuple[str, ...]
    output: tuple[str, ...]
    running: tuple[str, ...]
    waiting: tuple[str, ...]
    whole: bool = True


ENGINES = (
    Counters(
        "vllm", "0.8 and later; cached tokens by prefix cache hits before vllm:prompt_tokens_cached", "vllm:",
        ("vllm:prompt_tokens_total",), ("vllm:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total"),
        ("vllm:generation_tokens_total",), ("vllm:num_requests_running",), ("vllm:num_requests_waiting",),
    ),
    Counters(
        "sglang", "0.5, with --enable-metrics", "sglang:",
        ("sglang:prompt_tokens_total",), ("sglang:cached_tokens_total",), ("sglang:generation_tokens_total",),
        ("sglang:num_running_reqs",), ("sglang:num_queue_reqs",),
    ),
    Counters(
        "llamacpp", "builds of 2026, with --metrics; older ones do not count cached tokens", "llamacpp:",
        ("llamacpp:prompt_tokens_total",), ("llamacpp:prompt_tokens_cached_total",), ("llamacpp:tokens_predicted_total",),
        ("llamacpp:requests_processing",), ("llamacpp:requests_deferred",), whole=False,
    ),
    Counters(
        "tgi", "3; it does not count cached tokens", "tgi_",
        ("tgi_request_input_length_sum",), (), ("tgi_request_generated_tokens_sum",), ("tgi_batch_current_size",),
        ("tgi_queue_size",),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """An engine's counters at one moment.

    Parameters
    ----------
    engine : str
        Whose.
    when : float
        Clock [s].
    input, cached, output : float
        Tokens so far, cached ones not in ``input``; cached is NaN where the engine does not count them [token].
    running, waiting : float
        Requests.
    """

    engine: str
    when: float
    input: float
    cached: float
    output: float
    running: float
    waiting: float


def parse(text: str) -> dict[str, float]:
    """Metrics of a Prometheus page by name, summed over their labels; lines that are none are passed over."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        match = None if line.startswith("#") else _LINE.fullmatch(line.strip())
        if not match:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if math.isfinite(value):
            found[match[1]] = found.get(match[1], 0.0) + value
    return found


def read(text: str, when: float) -> Reading:
    """A reading from a page of metrics.

    Raises
    ------
    PertokenError
        When no known engine's counters are on it.
    """
    metrics = parse(text)
    for names in ENGINES:
        if any(name.startswith(names.prefix) for name in metrics):
            return _reading(names, metrics, when)
    known = ", ".join(names.engine for names in ENGINES)
    raise PertokenError(f"the page has no counters of a known engine ({known}); are its metrics turned on?")


def _reading(names: Counters, metrics: Mapping[str, float], when: float) -> Reading:
    def first(kinds: Sequence[str]) -> float:
        return next((metrics[name] for name in kinds if name in metrics), math.nan)

    total, output, cached = first(names.input), first(names.output), first(names.cached)
    if math.isnan(total) or math.isnan(output):
        # an engine that has served nothing may not show its counters yet
        total, output = (0.0 if math.isnan(v) else v for v in (total, output))
    fresh = max(0.0, total - cached) if names.whole and not math.isnan(cached) else total
    return Reading(names.engine, when, fresh, cached, output, first(names.running), first(names.waiting))


@dataclass(frozen=True)
class Weights:
    """What a token of each kind takes, up to a common factor: how the bill is shared.

    Parameters
    ----------
    input, cached, output : float
        Accelerator-seconds of a token, or any multiple.
    origin : str
        Where they come from.
    """

    input: float
    cached: float
    output: float
    origin: str

    def of(self, kind: str) -> float:
        """One of them."""
        return float(getattr(self, kind))


@dataclass(frozen=True)
class Window:
    """What happened between two readings.

    Parameters
    ----------
    seconds : float
        Between them [s].
    tokens : mapping of str to float
        By kind; cached tokens stand apart from ``input``, once [token].
    busy : float
        Share of looks at which requests ran [1].
    looks : int
        How many looks that share rests on.
    running, waiting : float
        Means over the looks.
    usd : float
        Paid [$].
    usd_of : mapping of str to float
        Shares of it by kind of token, and ``idle`` [$].
    """

    seconds: float
    tokens: Mapping[str, float]
    busy: float
    looks: int
    running: float
    waiting: float
    usd: float
    usd_of: Mapping[str, float]

    def per_million(self, kind: str) -> float:
        """Dollars per million tokens of a kind, idle time apart; NaN where there were none, or the bill is not shared [$]."""
        count = self.tokens.get(kind, 0.0)
        return MILLION * self.usd_of[kind] / count if count > 0 and kind in self.usd_of else math.nan

    @property
    def blended(self) -> float:
        """Dollars paid per million tokens of all kinds, idle time included; NaN where there were none [$]."""
        total = math.fsum(self.tokens.values())
        return MILLION * self.usd / total if total > 0 else math.nan

    def rate(self, kind: str) -> float:
        """Tokens per second of a kind [token/s]."""
        return self.tokens[kind] / self.seconds


@dataclass
class Watch:
    """Turns readings into windows.

    Parameters
    ----------
    usd_per_second : float
        Of all accelerators; 0 where no rate was given [$/s].
    weights : Weights or None
        How to share the bill; without them it stays whole.
    """

    usd_per_second: float = 0.0
    weights: Weights | None = None
    _first: Reading | None = None
    _looks: list[Reading] = field(default_factory=list)

    def look(self, reading: Reading) -> None:
        """Take a reading between the ends of a window: it tells of requests that run."""
        self._first = self._first or reading
        self._looks.append(reading)

    def window(self) -> Window | None:
        """What happened from the last window's end to the last look.

        None until there are two looks, and where the counters started again: the engine did, and the next window counts.
        """
        looks, begin = self._looks, self._first
        if begin is None or not looks or looks[-1].when <= begin.when:
            return None
        end = looks[-1]
        self._first, self._looks = end, []
        deltas = {kind: getattr(end, kind) - getattr(begin, kind) for kind in KINDS}
        if any(delta < 0 for delta in deltas.values()):
            return None
        tokens = {kind: delta for kind, delta in deltas.items() if not math.isnan(delta)}
        seen = [r for r in looks if not math.isnan(r.running)]
        busy = sum(r.running > 0 for r in seen) / len(seen) if seen else math.nan
        seconds = end.when - begin.when
        usd = self.usd_per_second * seconds
        return Window(
            seconds, tokens, busy, len(seen), _mean([r.running for r in seen]),
            _mean([r.waiting for r in looks if not math.isnan(r.waiting)]), usd, share(usd, busy, tokens, self.weights),
        )  # fmt: skip


def share(usd: float, busy: float, tokens: Mapping[str, float], weights: Weights | None) -> dict[str, float]:
    """Shares of a bill by kind of token, and what is idle; they sum to it.

    Parameters
    ----------
    usd : float
        The bill [$].
    busy : float
        Share of its time in which the engine worked; NaN counts as all [1].
    tokens : mapping of str to float
        By kind [token].
    weights : Weights or None
        Without them, and where no token was counted yet, only ``idle`` and ``all`` are told.
    """
    taken = {kind: tokens[kind] * weights.of(kind) for kind in tokens} if weights else {}
    total = math.fsum(taken.values())
    worked = usd if math.isnan(busy) else usd * busy
    if total <= 0:
        return {"all": worked, "idle": usd - worked}
    return {kind: worked * part / total for kind, part in taken.items()} | {"idle": usd - worked}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
