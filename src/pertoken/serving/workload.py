"""A Workload is what users send: lengths, rate or concurrency, and latency goals. It knows nothing of engines."""

from __future__ import annotations

from dataclasses import dataclass

from pertoken.errors import PertokenError
from pertoken.knobs import KNOBS
from pertoken.serving.lengths import Lengths
from pertoken.serving.trace import lengths_from_text


@dataclass(frozen=True)
class Goals:
    """Latency goals: mean time to first token and mean time per output token [s]; infinity for none."""

    ttft: float = float("inf")
    tpot: float = float("inf")

    def __post_init__(self) -> None:
        for name, value in (("ttft", self.ttft), ("tpot", self.tpot)):
            if not value > 0:
                raise PertokenError(f"--{name} is {value:g}; a goal must be above 0 seconds")


_MODES = ("concurrency", "rps", "load")
_NO_GOALS = Goals()
_UNSET = Lengths.fixed(1, 1)  # stands for lengths that follow from input and output


@dataclass(frozen=True)
class Workload:
    """What users send.

    Parameters
    ----------
    input, output : int, float or str
        Lengths: a number, ``uniform:800-1024``, or quantiles such as ``p50=1020,p90=2734`` [token].
    concurrency : float, optional
        Requests in flight, at least 1.
    rps : float, optional
        Requests per second.
    load : float, optional
        Share of the highest rate that meets the goals. With none of the three the machine is saturated: it takes as many
        requests as goals and memory allow.
    cached : float
        Share of the input found in the prefix cache, 0 to 1.
    goals : Goals
        Latency goals.
    lengths : Lengths, optional
        Lengths of single requests, such as a trace's, instead of ``input`` and ``output``.
    """

    input: float | str | None = None
    output: float | str | None = None
    concurrency: float | None = None
    rps: float | None = None
    load: float | None = None
    cached: float = 0.0
    goals: Goals = _NO_GOALS
    lengths: Lengths = _UNSET

    def __post_init__(self) -> None:
        if (self.lengths is _UNSET) == (self.input is None or self.output is None):
            raise PertokenError("a workload needs either input and output, or lengths; give one of the two")
        if self.lengths is _UNSET:
            object.__setattr__(self, "lengths", lengths_from_text(str(self.input), str(self.output)))
        if not 0.0 <= self.cached <= 1.0:
            raise PertokenError(f"--cached is {self.cached:g}; it is a share of the input, from 0 to 1")
        given = [name for name in _MODES if getattr(self, name) is not None]
        if len(given) > 1:
            raise PertokenError(
                f"--{' and --'.join(given)} cannot be given together; each fixes the traffic: leave all but one out"
            )
        for name in given:
            low, high = KNOBS[name].low, KNOBS[name].high
            if not low <= getattr(self, name) <= high:
                raise PertokenError(f"--{name} is {getattr(self, name):g}; it must be from {low:g} to {high:g}")

    @property
    def mode(self) -> str:
        """``concurrency``, ``rps``, ``load`` or ``saturated``."""
        return next((name for name in _MODES if getattr(self, name) is not None), "saturated")

    @property
    def amount(self) -> float:
        """The figure that belongs to `mode`; 0 when saturated."""
        return 0.0 if self.mode == "saturated" else float(getattr(self, self.mode))
