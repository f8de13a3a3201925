"""Power of accelerators: fitted where energy was measured, else the nearest family's shares of board power."""

from __future__ import annotations

from functools import cache

from pertoken.catalog import files, machines
from pertoken.hardware.accelerator import Accelerator
from pertoken.money.energy import IDLE_SHARE, UNITS, Draw, draw_of
from pertoken.sources import Source, Sourced, read_number, read_sources

WIDER = 2.0  # the interval's logarithms where another accelerator stands in, an assumption
NEAREST = {"blackwell": "b200-sxm"}  # family to the accelerator whose shares stand in; Hopper for all others
OLDER = "h100-sxm"


@cache
def measured(name: str, engine: str) -> Draw:
    """Fitted power of an accelerator under an engine."""
    table = files.read_toml(files.ROOT / "power" / f"{name}.toml")
    sources = read_sources(table["sources"])
    where = f"power of {name}"
    waits = table["wait"]
    known = engine in waits
    entries = table["power"] | {"wait": waits[engine] if known else 0.0}
    parts = {k: read_number(entries[k], unit, sources, f"{where}: {k}", zero=True) for k, unit in UNITS.items()}
    low, high = table["interval"]
    unknown = f"no energy for waits of {engine}'s host: they were measured under {', '.join(waits)} only"
    return draw_of(parts, (float(low), float(high)), () if known else (unknown,))


def load_draw(accelerator: Accelerator, engine: str) -> Draw | None:
    """What an accelerator draws under an engine; None where no board power is published.

    Another family's parameters are scaled so that each takes the same share of board power at full rate: the floor as such,
    memory at full bandwidth, arithmetic at its half-precision peak.
    """
    if accelerator.name in files.names("power"):
        return measured(accelerator.name, engine)
    if accelerator.board_power is None:
        return None
    near = machines.load_accelerator(NEAREST.get(accelerator.family, OLDER))
    assert near.board_power
    draw, power = measured(near.name, engine), accelerator.board_power.value
    ratio = power / near.board_power.value
    source = Source(f"as shares of board power measured on {near.name}", read=draw.active.source.read)
    scales = {
        "active": ratio,
        "byte": ratio * near.bandwidth.value / accelerator.bandwidth.value,
        "flop": ratio * near.peak(near.half) / accelerator.peak(accelerator.half),
        "wait": 1.0,
    }
    made = {k: Sourced(getattr(draw, k).value * scale, UNITS[k], source) for k, scale in scales.items()}
    made["idle"] = Sourced(IDLE_SHARE * power, "W", Source("assumed"), f"{IDLE_SHARE:g} of board power")
    made["cap"] = accelerator.board_power
    low, high = draw.interval
    return draw_of(
        made,
        (low**WIDER, high**WIDER),
        (f"energy of {accelerator.name} was not measured: {near.name}'s shares of board power stand in", *draw.assumed),
    )
