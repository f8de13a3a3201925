"""Energy, carbon and water of an answer, as plain data and as a few lines of text."""

from __future__ import annotations

from typing import Any

from pertoken.cost import Cost, PerToken
from pertoken.money.meter import Meter
from pertoken.units import MILLION, format_number


def _dict(found: PerToken | None, factor: float = 1.0) -> dict[str, Any] | None:
    return found.scaled(factor).as_dict() if found else None


def litres(cost: Cost) -> PerToken | None:
    """Water evaporated on site, per token; None when no factor is known [L]."""
    each, joules = cost.site.litres_per_joule, cost.facility_joules
    return joules.scaled(each) if joules and each is not None else None


def energy(cost: Cost) -> dict[str, Any]:
    """Joules per token at the facility's meter and at the accelerators, and the watts behind them."""
    meter, site = cost.meter, cost.site
    if meter is None:
        return {"joules_per_token": None, "basis": "no board power is published; give --watts"}
    return {
        "joules_per_token": _dict(cost.facility_joules),
        "accelerator_joules_per_token": _dict(cost.joules),
        "watts": {"busy": meter.watts, "idle": meter.idle_watts},
        "host": site.host.as_dict(),
        "pue": site.pue.as_dict(),
        "joules_per_hour": _hour(cost, meter),
        "basis": f"at the facility's meter; {meter.draw.active.source.title}",
        "draw": {name: getattr(meter.draw, name).as_dict() for name in meter.draw.values()},
    }


def _hour(cost: Cost, meter: Meter) -> dict[str, float]:
    """Joules of an hour at the facility's meter, and those that no token is charged with."""
    idle = cost.idle_joules
    total = (cost.bill.accelerator_s - cost.idle_s) * meter.busy_watts * cost.site.factor + idle
    return {"total": total, "idle": idle if cost.basis == "usage" else 0.0}


def carbon(cost: Cost) -> dict[str, Any] | None:
    """Grams of CO2e, with the grid's intensity, year and source; None when energy is unknown."""
    grams, site = cost.grams, cost.site
    if grams is None or site.grid is None or site.grams_per_joule is None:
        return None
    made = site.embodied_grams_per_second
    idle = cost.idle_joules * site.grams_per_joule + cost.idle_s * made
    return {
        "grams_per_million": _dict(grams, MILLION),
        "idle_grams_per_hour": idle if cost.basis == "usage" else 0.0,
        "grid": site.grid.as_dict(),
        "embodied": site.embodied.as_dict() | {"grams_per_accelerator_s": made} if site.embodied else None,
    }


def water(cost: Cost) -> dict[str, Any] | None:
    """Litres evaporated on site, with the factor's source; None when none is known."""
    found = litres(cost)
    if found is None or cost.site.water is None:
        return None
    return {"litres_per_million": _dict(found, MILLION), "factor": cost.site.water.as_dict()}


def lines(cost: Cost) -> list[str]:
    """Joules, grams and litres of input and output tokens, and what they rest on."""
    joules, grams, wet, meter = cost.facility_joules, cost.grams, litres(cost), cost.meter
    if joules is None or meter is None:
        return ["no board power is published; give --watts"]
    found = []
    for name in ("input", "output"):
        j = getattr(joules, name)
        parts = [f"{name} {format_number(j.value)} J a token ({format_number(j.low)} to {format_number(j.high)})"]
        if grams:
            parts.append(f"{format_number(getattr(grams, name).value * MILLION)} g CO2e")
        if wet:
            parts.append(f"{format_number(getattr(wet, name).value * MILLION, 2)} L of water")
        found.append(", ".join(parts) + (" per million" if len(parts) > 1 else ""))
    site = cost.site
    around = f"x {site.host.value:g} for the host x PUE {site.pue.value:g}"
    grid = f"; {site.grid.value:,.0f} g CO2e/kWh ({site.grid.note})" if site.grid else ""
    made = ", making the machines included" if site.embodied else ""
    found.append(
        f"an accelerator draws {meter.watts:,.0f} W working, {meter.idle_watts:,.0f} W idle; {around}{grid}{made}"
    )
    wider = ", wider as it was not measured on this accelerator" if meter.draw.assumed else ""
    if meter.draw.interval != (1.0, 1.0):
        found.append(f"in brackets: 90% interval of joules, from model families left out of the fit{wider}")
    return found
