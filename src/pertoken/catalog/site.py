"""What stands around the accelerators where nothing is given: host, cooling, grid, water, each with its source."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from typing import Any

from pertoken.catalog import files
from pertoken.errors import PertokenError
from pertoken.money.owned import Ownership, read_ownership
from pertoken.money.site import Site
from pertoken.sources import USER, Source, Sourced, read_number, read_sources

CITED = "cited"


@cache
def _table(name: str) -> Mapping[str, Any]:
    return files.read_toml(files.ROOT / "rates" / f"{name}.toml")


@cache
def _sources(name: str) -> Mapping[str, Source]:
    return read_sources(_table(name)["sources"])


@cache
def grids() -> dict[str, tuple[str, str, float]]:
    """Country code to name, year and grams of CO2e a kWh."""
    with (files.ROOT / "rates" / "grid.csv").open(encoding="utf-8", newline="") as file:
        return {r["iso3"]: (r["country"], r["year"], float(r["g_co2e_per_kwh"])) for r in csv.DictReader(file)}


def find_country(text: str) -> str:
    """Three-letter code of a country given by code or name.

    Raises
    ------
    PertokenError
        When the table has none such.
    """
    key = text.strip().lower()
    for code, (name, _, _) in grids().items():
        if key in (code.lower(), name.lower()):
            return code
    near = [
        f"{code} ({name})"
        for code, (name, _, _) in grids().items()
        if len(key) > 2 and name.lower().startswith(key[:3])
    ]
    hint = f"; near it: {', '.join(near[:5])}" if near else "; give a code such as USA, DEU, FRA or CHN"
    raise PertokenError(f"--country is {text[:40]!r}, of which no grid intensity is in the table{hint}")


def grid(code: str) -> Sourced:
    """Carbon of a country's electricity [g/kWh]."""
    name, year, grams = grids()[code]
    source = _sources("site")["codecarbon"]
    return Sourced(grams, "g/kWh", source, f"{name}, {year}")


def at_home(accelerator: str) -> bool:
    """Whether an accelerator is a card that people put into a computer of their own."""
    return accelerator in _table("owned")["home"]["accelerators"]


def load_site(accelerator: str, given: Mapping[str, Any]) -> tuple[Site, list[str]]:
    """Surroundings of an accelerator from knobs, and what was taken for them.

    Parameters
    ----------
    accelerator : str
        Catalog name.
    given : mapping
        Knobs ``host``, ``pue``, ``country``, ``water``, ``embodied`` and ``watts``, those that were given.
    """
    table = _table("site")
    sources = _sources("site")
    defaults = {**table["site"], **(table["home"] if at_home(accelerator) else {})}
    assumed: list[str] = []

    def number(name: str, unit: str) -> Sourced:
        if name in given:
            return Sourced(float(given[name]), unit, USER)
        found = read_number(defaults[name], unit, sources, name, zero=True)
        note = f" ({found.note})" if found.note else ""
        assumed.append(
            f"{name.upper() if name == 'pue' else name} {found.value:g}{note}; {found.source.title.split(': ')[0]}"
        )
        return found

    # watts that were given are those of the accelerator with its host
    host = Sourced(1.0, "1", USER, "in --watts") if "watts" in given else number("host", "1")
    code = find_country(given.get("country", defaults["country"]))
    if "country" not in given:
        assumed.append(f"electricity of {grids()[code][0]}, {grids()[code][2]:g} g CO2e/kWh in {grids()[code][1]}")
    water = None
    if "water" in given or (code == "USA" and not at_home(accelerator)):  # the cited factor is of the United States
        water = number("water", "L/kWh")
    embodied, life = _embodied(given, defaults, sources)
    return Site(host, number("pue", "1"), grid(code), water, embodied, life), assumed


def _embodied(
    given: Mapping[str, Any], defaults: Mapping[str, Any], sources: Mapping[str, Any]
) -> tuple[Sourced | None, Sourced | None]:
    """Carbon of making an accelerator and its life, if asked for."""
    text = str(given.get("embodied", "")).strip().lower()
    if not text:
        return None, None
    life = read_number(defaults["life"], "year", sources, "life")
    if text == CITED:
        return read_number(defaults["embodied"], "kg", sources, "embodied"), life
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1e6:
        raise PertokenError(
            f"--embodied is {text[:40]!r}; write {CITED}, or kg of CO2e for one accelerator from 0 to 1,000,000, such as 318"
        )
    return Sourced(value, "kg", USER), life


def electricity(accelerator: str) -> tuple[float, str]:
    """Price of electricity where an accelerator stands [$/kWh], and where it was read."""
    table = _table("owned")
    terms = {**table["common"], **(table["home"] if at_home(accelerator) else {})}
    found = read_number(terms["power"], "$/kWh", read_sources(table["sources"]), "owned: power")
    return found.value, found.source.title


def load_ownership(accelerator: str, given: Mapping[str, float]) -> tuple[Ownership, str]:
    """Terms of owning an accelerator, and what is owned."""
    table = _table("owned")
    sources = read_sources(table["sources"])
    machine = table["machines"].get(accelerator, {})
    terms = {**table["common"], **(table["home"] if at_home(accelerator) else {}), **machine}
    if "colo" in given and given["colo"] == 0.0 and "kw" not in terms:
        terms["kw"] = table["home"]["kw"]  # no rented space, so no kilowatts of it

    def read(entry: object, unit: str, name: str) -> Sourced:
        return read_number(entry, unit, sources, f"owned {accelerator}: {name}", zero=True)

    return read_ownership(terms, given, read, accelerator), machine.get("title", f"one {accelerator}")


def pue_range() -> tuple[float, float, str]:
    """Lowest and highest power usage effectiveness that was read, and where."""
    found = _table("site")["ranges"]["pue"]
    return float(found["low"]), float(found["high"]), str(found["note"])
