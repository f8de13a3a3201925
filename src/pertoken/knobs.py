"""The one table of knobs: name, kind, unit, range, default and doc. Flags, scenario files and docs come from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pertoken.errors import PertokenError
from pertoken.units import parse_bytes, parse_count, parse_seconds


@dataclass(frozen=True)
class Slider:
    """Where a slider of the page runs, within what the knob allows.

    Parameters
    ----------
    low, high : float
        Its ends, in the knob's unit.
    scale : str
        ``log``, ``linear`` or ``steps``.
    steps : tuple of float
        Its stops, of ``steps``.
    form : str
        How the knob writes the number, such as ``rent:{}``.
    unit : str
        Of the number, where it is not the knob's.
    """

    low: float
    high: float
    scale: str = "log"
    steps: tuple[float, ...] = ()
    form: str = "{}"
    unit: str = ""


@dataclass(frozen=True)
class Knob:
    """One knob.

    Parameters
    ----------
    name : str
        As in scenario files; the flag has hyphens for underscores.
    kind : str
        ``text``, ``whole``, ``number``, ``count``, ``bytes``, ``seconds`` or ``choice``.
    doc : str
        One line for users; says the default.
    group : str
        model, machine, traffic or money.
    unit : str
        SI unit.
    low, high : float
        Allowed range, both included.
    choices : tuple of str
        For ``choice``.
    label : str
        Name on the page; the name with spaces if empty.
    main : bool
        Whether the page's first screen has it.
    slider : Slider or None
        None where the page has a text box or a list.
    """

    name: str
    kind: str
    doc: str
    group: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    label: str = ""
    main: bool = False
    slider: Slider | None = None

    def as_dict(self) -> dict[str, Any]:
        """As the page is told; a range that ends nowhere is null."""
        ends = {name: end if math.isfinite(end) else None for name, end in (("low", self.low), ("high", self.high))}
        return {**asdict(self), **ends, "label": self.label or self.name.replace("_", " "), "flag": self.flag}

    @property
    def flag(self) -> str:
        """The command's option, or the argument's name."""
        return "MODEL" if self.name == "model" else "--" + self.name.replace("_", "-")

    def read(self, value: Any) -> Any:
        """Check and convert what a user gave: text from the command, or a value from a scenario file or Python.

        Raises
        ------
        PertokenError
            With the value, the allowed range and what to do.
        """
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise PertokenError(f"{self.flag} is {str(value)[:60]!r}; it must be {self._wants()}")
        if self.kind in ("text", "choice"):
            return self._text(str(value))
        number = self._number(value)
        if not math.isfinite(number) or not self.low <= number <= self.high:
            raise PertokenError(f"{self.flag} is {str(value)[:60]}; it must be {self._wants()}")
        if self.kind == "whole":
            if number != int(number):
                raise PertokenError(f"{self.flag} is {str(value)[:60]}; it must be {self._wants()}")
            return int(number)
        return number

    def _text(self, value: str) -> str:
        if self.choices and value not in self.choices:
            raise PertokenError(f"{self.flag} is {value[:60]!r}; use one of {', '.join(self.choices)}")
        if not value.strip() or len(value) > 4096:
            raise PertokenError(f"{self.flag} is {value[:60]!r}; it must be a text of 1 to 4,096 characters")
        if not value.isprintable():  # they would reach terminals, CSV and scenario files
            raise PertokenError(
                f"{self.flag} is {value[:60]!r}, which holds control characters; leave them out or rename"
            )
        return value.strip()

    def _number(self, value: str | int | float) -> float:
        try:
            if not isinstance(value, str):
                return float(value)
            if self.kind == "bytes":
                return parse_bytes(value, self.flag)
            if self.kind == "seconds":
                return parse_seconds(value, self.flag)
            if self.kind == "count":
                return parse_count(value, self.flag)
            return float(value)
        except OverflowError as error:
            raise PertokenError(f"{self.flag} is too large; it must be {self._wants()}") from error
        except PertokenError:
            raise
        except ValueError as error:
            raise PertokenError(f"{self.flag} is {str(value)[:60]!r}; it must be {self._wants()}") from error

    def _wants(self) -> str:
        noun = "a whole number" if self.kind == "whole" else "a text" if self.kind in ("text", "choice") else "a number"
        if not math.isfinite(self.low):
            return noun
        return f"{noun} from {self.low:g} to {self.high:g}" + (f" {self.unit}" if self.unit else "")


_POWERS = tuple(2.0**i for i in range(9))
KNOBS: Mapping[str, Knob] = {
    k.name: k
    for k in (
        Knob("model", "text", "Catalog name, config.json, folder, or org/name in the local Hugging Face cache.", "model",
            main=True),
        Knob("dtype", "text", "Format of the weights (default: the checkpoint's).", "model", label="weights"),
        Knob("kv_dtype", "text", "Format of the KV cache (default: the checkpoint's, else half precision).", "model",
            label="KV cache"),
        Knob(
            "on", "text", "Machine as NxACCELERATOR, such as 8xh100-sxm; N may be left out for the fewest that fit (default:"
            " cheapest that fits).", "machine", main=True,
        ),
        Knob("tp", "whole", "Tensor parallel size (default: as large as the link domain allows).", "machine", "", 1, 1024,
            label="tensor parallel", slider=Slider(1, 64, "steps", _POWERS[:7])),
        Knob("pp", "whole", "Pipeline parallel size (default: 1).", "machine", "", 1, 1024,
            label="pipeline parallel", slider=Slider(1, 16, "steps", _POWERS[:5])),
        Knob("ep", "whole", "Expert parallel size (default: 1).", "machine", "", 1, 4096,
            label="expert parallel", slider=Slider(1, 256, "steps", _POWERS[:9])),
        Knob("dp", "whole", "Data parallel size (default: what is left).", "machine", "", 1, 100_000,
            label="data parallel", slider=Slider(1, 64, "steps", _POWERS[:7])),
        Knob(
            "network", "bytes", "Bandwidth between link domains, one direction, per accelerator (default: 50GB/s).", "machine",
            "byte/s", 1e6, 1e13, slider=Slider(1e9, 1e12),
        ),
        Knob(
            "overlap", "choice", "micro-batches: the all-to-all of expert parallel runs behind the other half of the batch"
            " (default: none).", "machine", choices=("none", "micro-batches"),
        ),
        Knob("engine", "text", "Engine profile (default: vllm).", "machine"),
        Knob(
            "efficiency", "text", "Own calibration, as pertoken calibrate writes it (default: the efficiencies that ship).",
            "machine",
        ),
        Knob("token_budget", "count", "Most tokens of one step (default: the engine's).", "machine", "token", 16, 1e7,
            slider=Slider(128, 65536)),
        Knob("max_sequences", "whole", "Most sequences of one step (default: the engine's).", "machine", "", 1, 1_000_000,
            slider=Slider(1, 4096)),
        Knob(
            "input", "text", "Input tokens: 8192, uniform:800-1024, or p50=1020,p90=2734 (default: the Azure conversation"
            " lengths).", "traffic", "token", label="input tokens", main=True, slider=Slider(1, 131072),
        ),
        Knob("output", "text", "Output tokens, written as --input.", "traffic", "token", label="output tokens",
            main=True, slider=Slider(1, 32768)),
        Knob("cached", "number", "Share of the input found in the prefix cache (default: 0).", "traffic", "", 0, 1,
            label="cached input", main=True, slider=Slider(0, 1, "linear")),
        Knob("trace", "text", "Lengths from a CSV (input, output, and cached if known) or JSONL, or a shipped trace.", "traffic"),
        Knob(
            "prefix_cache", "count", "Tokens that the prefix cache of a trace with block hashes keeps, least recently used out"
            " first (default: all).", "traffic", "token", 512, 1e15, slider=Slider(1e4, 1e9),
        ),
        Knob("concurrency", "number", "Requests in flight.", "traffic", "requests", 1, 1e6,
            main=True, slider=Slider(1, 4096)),
        Knob("rps", "number", "Requests per second.", "traffic", "1/s", 1e-9, 1e9, label="requests per second",
            slider=Slider(1e-3, 1e3)),
        Knob("load", "number", "Share of the highest rate that meets the goals.", "traffic", "", 1e-9, 1,
            slider=Slider(0.01, 1, "linear")),
        Knob("ttft", "seconds", "Goal for the mean time to first token (default: 2s).", "traffic", "s", 1e-6, 1e6,
            label="TTFT goal", slider=Slider(0.05, 60)),
        Knob("tpot", "seconds", "Goal for the mean time per output token (default: 50ms).", "traffic", "s", 1e-6, 1e6,
            label="TPOT goal", slider=Slider(0.002, 1)),
        Knob(
            "rate", "text", "rent (dated table), rent:2.50 $/accelerator-hour, rent:neocloud (or hyperscaler, marketplace, spot),"
            " own, own:1600,life=4y,power=0.30 (also discount, colo, kw, operations), or power:0.12 $/kWh (default: rent).",
            "money", label="rent", main=True, slider=Slider(0.05, 20, form="rent:{}", unit="$/accelerator-hour"),
        ),
        Knob(
            "utilisation", "text", "Share of paid time in which the machine works, or 24 hourly shares with commas (default: 1).",
            "money", main=True, slider=Slider(0.01, 1),
        ),
        Knob(
            "basis", "choice", "usage shows idle time as a line; allocation spreads it over tokens (default: usage).", "money",
            choices=("usage", "allocation"),
        ),
        Knob(
            "watts", "number", "Draw of a working accelerator with its share of the host (default: predicted).", "money", "W",
            1, 1e5, slider=Slider(10, 2000),
        ),
        Knob("host", "number", "Draw of accelerator and host over the accelerator's (default: 1.43).", "money", "", 1, 10,
            slider=Slider(1, 3, "linear")),
        Knob("pue", "number", "Power usage effectiveness of the facility (default: 1.4; at home 1).", "money", "", 1, 10,
            label="PUE", slider=Slider(1, 3, "linear")),
        Knob("country", "text", "Country whose electricity is used, by code or name (default: USA).", "money"),
        Knob(
            "water", "number", "Water evaporated on site per energy of the machines (default: 0.38 in the USA, else unknown).",
            "money", "L/kWh", 0, 100, slider=Slider(0, 10, "linear"),
        ),
        Knob(
            "embodied", "text", "Carbon of making the machines too: cited, or kg CO2e an accelerator (default: left out).",
            "money", "kg",
        ),
        Knob("currency", "text", "Show dollars in another currency too, at a rate that you give, such as EUR=0.92.", "money"),
    )
}  # fmt: skip


def read_knobs(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check all knobs that were given; those that are None count as not given.

    Raises
    ------
    PertokenError
        Naming an unknown knob, or one out of range.
    """
    found = {}
    for name, value in given.items():
        key = str(name).replace("-", "_")
        if key not in KNOBS:
            raise PertokenError(f"{str(name)[:60]!r} is no knob; use one of {', '.join(KNOBS)}")
        if value is not None:
            found[key] = KNOBS[key].read(value)
    return found
