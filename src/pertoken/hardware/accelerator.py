"""An Accelerator is one datasheet: peaks, memory, link and power, each number with its source. No efficiency, no price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pertoken.errors import PertokenError
from pertoken.hardware.link import Link
from pertoken.model.precision import Format
from pertoken.sources import Sourced, read_number, read_sources

COMPUTE = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp6", "fp4", "nvfp4", "mxfp4", "int8", "int4")


@dataclass(frozen=True)
class Accelerator:
    """One accelerator as its datasheet states it.

    Parameters
    ----------
    name, title, vendor, family, kind : str
        Catalog name, full name, maker, micro-architecture, and gpu, tpu, asic, cpu or soc.
    flops : mapping of str to Sourced
        Dense peak by arithmetic [FLOP/s].
    memory, bandwidth : Sourced
        Capacity [byte] and read rate [byte/s] of its memory.
    link : Link or None
        Scale-up link; None when none was found.
    board_power : Sourced or None
        Power of the whole board [W]; None when none is published.
    """

    name: str
    title: str
    vendor: str
    family: str
    kind: str
    flops: Mapping[str, Sourced]
    memory: Sourced
    bandwidth: Sourced
    link: Link | None = None
    board_power: Sourced | None = None

    def compute_for(self, form: Format) -> str:
        """Arithmetic in which weights of one format are multiplied here.

        Raises
        ------
        PertokenError
            When the accelerator has none that the format can use.
        """
        for name in form.compute:
            if name in self.flops:
                return name
        has = ", ".join(self.flops)
        hint = "--dtype int4 or w8a16 (weights unpacked to half precision)" if form.bits <= 8.25 else f"one of {has}"
        raise PertokenError(
            f"{self.name} has no {form.name} arithmetic (it has {has}); use {hint}, or another accelerator"
        )

    def peak(self, compute: str) -> float:
        """Dense peak of one arithmetic [FLOP/s]."""
        return self.flops[compute].value

    @property
    def in_slots(self) -> bool:
        """Whether its ranks share a host's PCIe, as none of those with a switched link do."""
        return self.link is None or self.link.name.startswith("PCIe")

    @property
    def half(self) -> str:
        """The half-precision arithmetic that attention runs in."""
        return next((name for name in ("bf16", "fp16", "fp32") if name in self.flops), next(iter(self.flops)))


def _text(table: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or not value or len(value) > 200:
        raise PertokenError(f"{where}: {key} is {str(value)[:60]!r}; it must be a text of 1 to 200 characters")
    return value


def _table(table: Mapping[str, Any], key: str, where: str, needed: bool = True) -> Mapping[str, Any]:
    value = table.get(key)
    if value is None and not needed:
        return {}
    if not isinstance(value, Mapping):
        raise PertokenError(f"{where} needs a table [{key}]")
    return value


def accelerator_from_dict(table: Mapping[str, Any], where: str) -> Accelerator:
    """Read an accelerator from the content of its TOML file; ``where`` names the file in errors.

    Raises
    ------
    PertokenError
        Naming the key that is missing or out of range.
    """
    sources = read_sources(_table(table, "sources", where, needed=False))
    flops = {}
    for name, entry in _table(table, "flops", where).items():
        if name not in COMPUTE:
            raise PertokenError(f"{where}: [flops] has {str(name)[:40]!r}; use one of {', '.join(COMPUTE)}")
        flops[name] = read_number(entry, "FLOP/s", sources, f"{where}: flops.{name}")
    if not set(flops) & {"bf16", "fp16", "fp32"}:
        raise PertokenError(f"{where}: [flops] needs bf16, fp16 or fp32, in which attention runs")
    memory, link, power = (_table(table, key, where, key == "memory") for key in ("memory", "link", "power"))

    def number(part: Mapping[str, Any], key: str, unit: str) -> Sourced:
        return read_number(part.get(key), unit, sources, f"{where}: {key}")

    return Accelerator(
        name=_text(table, "name", where),
        title=_text(table, "title", where, _text(table, "name", where)),
        vendor=_text(table, "vendor", where, "unknown"),
        family=_text(table, "family", where, "unknown"),
        kind=_text(table, "kind", where, "gpu"),
        flops=flops,
        memory=number(memory, "capacity", "byte"),
        bandwidth=number(memory, "bandwidth", "byte/s"),
        link=Link(
            _text(link, "name", where, "link"),
            number(link, "bandwidth", "byte/s"),
            number(link, "domain", "accelerator"),
        )
        if link
        else None,
        board_power=number(power, "board", "W") if "board" in power else None,
    )
