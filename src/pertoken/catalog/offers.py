"""Offers: of the packaged price list by provider and exact model id, and of a user's own file."""

from __future__ import annotations

import csv
import datetime as dt
import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pertoken.catalog import files
from pertoken.errors import PertokenError
from pertoken.market.compare import distinct
from pertoken.market.offers import Offer, offer_of
from pertoken.market.tariff import Prices, Tariff, Tier
from pertoken.units import MILLION

LIST = "genai-prices"
NUMBERS = ("input", "output", "cached", "written", "request")
TEXTS = ("provider", "model", "since", "source", "currency")
NESTED = ("tiers", "batch", "marginal")
EXAMPLE = (
    "provider, model, input and output [$ per million tokens], and if known cached, written, request [$], since, source"
)


@cache
def providers() -> tuple[Any, ...]:
    """The price list; reading it takes a quarter of a second, so nothing else does.

    Raises
    ------
    PertokenError
        When it is not installed.
    """
    try:
        from genai_prices import data
    except ImportError as error:
        raise PertokenError(
            f"prices of vendors need the package {LIST}; install it with: pip install {LIST}, or give --prices FILE"
        ) from error
    return tuple(data.providers)


def version() -> str:
    """The list and its version."""
    providers()
    return f"{LIST} {metadata.version(LIST)}"


@cache
def weights() -> Mapping[str, Any]:
    """The table of offers by open weights."""
    return files.read_toml(files.ROOT / "market" / "hosts.toml")


def find(text: str, day: dt.date, own: Sequence[Offer] = ()) -> Offer:
    """An offer by ``PROVIDER/MODEL``, exactly as its list writes it.

    Parameters
    ----------
    text : str
        Such as ``together/openai/gpt-oss-120b``: the model's id may have slashes itself.
    day : datetime.date
        Day of the price.
    own : sequence of Offer
        A user's own, which come first.

    Raises
    ------
    PertokenError
        When no offer has that exact name, with the candidates; near misses are never taken.
    """
    wanted = text.strip()
    for offer in own:
        if offer.name == wanted:
            return offer
    name, _, model_id = wanted.partition("/")
    provider = next((p for p in providers() if p.id == name), None)
    if provider is None:
        near = difflib.get_close_matches(name, [p.id for p in providers()], n=3, cutoff=0.6)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        ids = ", ".join(p.id for p in providers() if not p.id.startswith("huggingface_"))
        raise PertokenError(
            f"vendor {name[:40]!r} is not in {version()}; {guess}write PROVIDER/MODEL, PROVIDER one of {ids}"
        )
    model = next((m for m in provider.models if m.id == model_id), None)
    found = offer_of(provider, model, day, version()) if model else None
    if model and not found:
        raise PertokenError(f"{wanted[:80]!r} has no price for input and output tokens in {version()}; name another")
    if not found:
        raise PertokenError(
            f"{name} has no model of the exact id {model_id[:60]!r} in {version()}, and a near one may be another model;"
            f" {_candidates(provider, model_id)}"
        )
    return found


def _candidates(provider: Any, model_id: str) -> str:
    """The ids that may have been meant, those that the list's own loose matching finds among them."""
    ids = [m.id for m in provider.models]
    lower = {i.lower(): i for i in ids}
    loose = provider.find_model(model_id) if model_id else None
    near = [lower[i] for i in difflib.get_close_matches(model_id.lower(), list(lower), n=5, cutoff=0.4)]
    inside = [i for i in ids if model_id and model_id.lower() in i.lower()][:5]
    found = list(dict.fromkeys([*([loose.id] if loose else []), *inside, *near]))[:6]
    return (
        f"candidates: {', '.join(f'{provider.id}/{i}' for i in found)}"
        if found
        else f"it has {', '.join(sorted(ids)[:8])}"
    )


def hosts(model: str, day: dt.date, own: Sequence[Offer] = ()) -> list[Offer]:
    """Offers of a catalog model's weights: those of the list, and a user's own whose model has its name.

    A host that lists the weights itself is not repeated as a router passes it on; what the vendor is about to end is left out.
    """
    name = files.find_name("models", model) or model
    mine = [o for o in own if (files.find_name("models", o.model) or o.model) == name]
    names = next((set(w["offers"]) for w in weights()["weights"].values() if name in w["models"]), set())
    if not names:
        return mine
    found = [
        offer_of(p, m, day, version())
        for p in providers() for m in p.models if f"{p.id}/{m.id}" in names
    ]  # fmt: skip
    return mine + distinct([o for o in found if o and not o.deprecated])


def named(model_id: str, day: dt.date) -> list[Offer]:
    """Offers of a model whose weights nobody published, by exact id: any vendor's id that is it, or ends in ``/`` and it.

    Raises
    ------
    PertokenError
        When there is none, with the nearest ids.
    """
    wanted = model_id.strip().lower()
    both = [(p, m) for p in providers() for m in p.models]
    exact = [(p, m) for p, m in both if m.id.lower() == wanted or m.id.lower().endswith(f"/{wanted}")]
    found = [o for o in (offer_of(p, m, day, version()) for p, m in exact) if o]
    if found:
        return found
    first = [
        f"{p.id}/{m.id}" for p, m in both if not p.id.startswith(("openrouter", "github", "cursor", "huggingface"))
    ]
    near = [n for n in first if wanted in n.lower()] or difflib.get_close_matches(wanted, first, n=6, cutoff=0.5)
    hint = (
        f"candidates: {', '.join(n.partition('/')[2] for n in near[:6])}"
        if near
        else "see the vendor's list for its id"
    )
    raise PertokenError(f"no vendor in {version()} has a model of the exact id {model_id[:60]!r}; {hint}")


def read_own(path: Path) -> list[Offer]:
    """A user's own offers, from ``[[offers]]`` in TOML or the rows of a CSV.

    Raises
    ------
    PertokenError
        With the entry or line, when something is missing, out of range or in another currency.
    """
    if path.suffix.lower() == ".csv":
        try:
            reader = csv.DictReader(files.read_text(path).splitlines(), strict=True)
            rows = [(f"{path.name} line {reader.line_num}", {k: v for k, v in row.items() if v}) for row in reader]
        except csv.Error as error:
            raise PertokenError(f"{path.name} is no CSV: {error}; mend it") from error
    elif path.suffix.lower() == ".toml":
        entries = files.read_toml(path).get("offers", [])
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise PertokenError(f"{path.name} needs its offers as tables; write [[offers]] above {EXAMPLE}")
        rows = [(f"{path.name} offer {i}", e) for i, e in enumerate(entries, 1)]
    else:
        raise PertokenError(f"--prices {path.name[:60]!r} has no known form; give .toml or .csv with {EXAMPLE}")
    if not rows:
        raise PertokenError(f"{path.name} has no offers; give at least one with {EXAMPLE}")
    return [_own(row, where) for where, row in rows]


def _own(row: Mapping[Any, Any], where: str) -> Offer:
    unknown = [str(key) for key in row if key not in (*NUMBERS, *TEXTS, *NESTED)]
    if unknown:
        raise PertokenError(f"{where}: {unknown[0][:40]!r} is no key of an offer; give {EXAMPLE}")
    for key in ("provider", "model"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise PertokenError(f"{where} has no {key}; give {EXAMPLE}")
    currency = str(row.get("currency", "USD")).strip().upper()
    if currency not in ("USD", "$"):
        raise PertokenError(
            f"{where} is in {currency[:20]!r}; prices must be in USD: convert them at a rate of your own"
        )
    tariff = _tariff(row, where)
    batch = row.get("batch")
    if batch is not None and not isinstance(batch, Mapping):
        raise PertokenError(f"{where}: batch must be a table of prices, such as batch = {{input = 0.05, output = 0.2}}")
    since = str(row.get("since", ""))
    if since:
        try:
            dt.date.fromisoformat(since)
        except ValueError as error:
            raise PertokenError(f"{where}: since is {since[:20]!r}; write a date such as 2026-11-22") from error
    return Offer(
        row["provider"].strip(), row["model"].strip(), tariff, _tariff({**row, **batch}, where) if batch else None, since,
        str(row.get("source", "given by the user")),
    )  # fmt: skip


def _tariff(row: Mapping[str, Any], where: str) -> Tariff:
    base = _prices(row, where)
    tiers = row.get("tiers", [])
    if not isinstance(tiers, list) or not all(isinstance(t, Mapping) and "above" in t for t in tiers):
        raise PertokenError(
            f"{where}: tiers must be tables with above [token] and prices, such as {{above = 200000, input = 2}}"
        )
    made = [Tier(_number(t["above"], where, "above", 1e12), _prices({**row, **t}, where)) for t in tiers]
    return Tariff(base, tuple(made), row.get("marginal") is True)


def _prices(row: Mapping[str, Any], where: str) -> Prices:
    for key in ("input", "output"):
        if row.get(key) in (None, ""):
            raise PertokenError(f"{where} has no price of {key}; give {EXAMPLE}")
    each = {name: _number(row[name], where, name) for name in NUMBERS if row.get(name) not in (None, "")}
    request = each.pop("request", 0.0)
    return Prices(**{name: value / MILLION for name, value in each.items()}, request=request)


def _number(value: Any, where: str, name: str, most: float = 10_000.0) -> float:
    try:
        found = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not 0.0 <= found <= most:
        unit = "tokens" if name == "above" else "$ a request" if name == "request" else "$ per million tokens"
        raise PertokenError(
            f"{where}: {name} is {str(value)[:40]!r}; it must be a plain number from 0 to {most:,.0f} {unit}, in USD"
        )
    return found
