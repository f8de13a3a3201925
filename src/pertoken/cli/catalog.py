"""What ``list`` and ``show`` print."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from pertoken.catalog import files, machines, rates, traces
from pertoken.catalog.models import from_entry, load_checkpoint
from pertoken.errors import PertokenError
from pertoken.model.model import Block, Checkpoint
from pertoken.report.text import plain
from pertoken.sources import Sourced
from pertoken.units import GIGA, MILLION, TERA, format_bytes, format_rate, format_seconds


def _model_row(table: Mapping[str, Any]) -> dict[str, Any]:
    try:
        checkpoint = from_entry(table)
    except PertokenError as error:
        return {
            "name": table["name"],
            "title": table["title"],
            "parameters": "",
            "active": "",
            "weights": str(error)[:40],
        }
    model, precision = checkpoint.model, checkpoint.precision
    return {
        "name": table["name"],
        "title": table["title"],
        "parameters": f"{model.parameters / GIGA:,.2f}e9",
        "active": f"{model.active_parameters / GIGA:,.2f}e9",
        "weights": precision.weights if precision else "ask",
        "context": model.context_limit,
    }


def _accelerator_row(name: str) -> dict[str, Any]:
    a = machines.load_accelerator(name)
    rent = rates.offers_of(name)
    return {
        "name": name,
        "title": a.title,
        "half": f"{a.flops[a.half].value / TERA:,.0f} TFLOP/s",
        "memory": format_bytes(a.memory.value),
        "bandwidth": format_rate(a.bandwidth.value, "B/s"),
        "link": format_rate(a.link.bandwidth.value, "B/s") if a.link else "",
        "power": f"{a.board_power.value:,.0f} W" if a.board_power else "",
        "rents": len(rent),
    }


def rows(kind: str) -> list[dict[str, Any]]:
    """One flat line for each entry of a kind."""
    if kind == "models":
        return [_model_row(table) for table in files.entries("models")]
    if kind == "accelerators":
        return [_accelerator_row(name) for name in files.names("accelerators")]
    if kind == "engines":
        found = [machines.load_profile(name) for name in files.names("engines")]
        return [{"name": p.name, "title": p.title, "versions": p.versions} for p in found]
    if kind == "rates":
        keys = ("accelerator", "provider", "segment", "region", "median", "low", "high", "since", "checked", "note")
        return [{key: getattr(offer, key) for key in keys} for offer in rates.offers()]
    return [_trace_row(name) for name in traces.names()]


def narrowed(found: list[dict[str, Any]], kind: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """Rows in which every word is the start of a cell, whatever the case.

    Raises
    ------
    PertokenError
        When none is left.
    """
    kept = [r for r in found if all(any(str(v).lower().startswith(w.lower()) for v in r.values()) for w in words)]
    if not kept:
        raise PertokenError(
            f"no entry of {kind} has {' and '.join(repr(w[:40]) for w in words)}; see pertoken list {kind}"
        )
    return kept


def old(found: list[dict[str, Any]], today: dt.date) -> list[str]:
    """A sentence when rents are older than they should be."""
    late = [row for row in found if rates.stale(row["since"], today)]
    if not late:
        return []
    first = min(row["since"] for row in late)
    return [
        f"{len(late)} of {len(found)} rents are older than {rates.FRESH_DAYS} days, the oldest of {first}: rents move, so check"
        " them, or give --rate rent:PRICE"
    ]


def _trace_row(name: str) -> dict[str, Any]:
    found = traces.load_lengths(name)
    return {
        "name": name,
        "requests": found.input.size,
        "mean input": round(float(found.input.mean()), 1),
        "mean output": round(float(found.output.mean()), 1),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Sourced):
        return value.as_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _block(block: Block) -> dict[str, Any]:
    found: dict[str, Any] = {"count": block.count}
    for name in ("attention", "feedforward"):
        part = getattr(block, name)
        if part is not None:
            found[name] = {"kind": type(part).__name__} | {
                k: v for k, v in asdict(part).items() if v not in (None, False)
            }
    return found


def model_entry(checkpoint: Checkpoint) -> dict[str, Any]:
    """Shapes, parameter counts and formats of a model."""
    model, precision = checkpoint.model, checkpoint.precision
    kv = 2.0
    return {
        "name": model.name,
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "matmul_parameters": model.matmul_parameters,
        "mtp_parameters": model.mtp_parameters,
        "hidden": model.hidden,
        "vocab": model.vocab,
        "layers": model.layers,
        "context_limit": model.context_limit,
        "tied": model.tied,
        "kv_bytes_per_token_half_precision": float(model.cache_bytes(4096.0, kv)) / 4096.0,
        "weights": {"default": precision.weights, **precision.roles, "kv": precision.kv}
        if precision
        else checkpoint.unstated,
        "blocks": [_block(block) for block in model.blocks],
        "source": checkpoint.origin,
        "assumed": list(checkpoint.assumed),
    }


def entry(kind: str, name: str) -> dict[str, Any]:
    """Everything known of one entry, as plain data."""
    if kind == "model":
        return model_entry(load_checkpoint(name))
    if kind == "accelerator":
        a = machines.load_accelerator(name)
        found: dict[str, Any] = _plain(a)
        found["rents"] = [_plain(offer) for offer in rates.offers_of(a.name)]
        found["efficiency"] = machines.chooser(a).efficiency.accelerator
        return found
    if kind == "efficiency":
        return _efficiency(name)
    return dict(_plain(machines.load_profile(name)))


def _efficiency(name: str) -> dict[str, Any]:
    """A user's calibration, or what ships for an accelerator that was measured."""
    if name.endswith(".toml"):
        return dict(_plain(machines.load_calibration(name)))
    key = files.find_name("accelerators", name) or name
    if key not in files.names("efficiency"):
        raise files.unknown(
            "efficiency", name, f"; measured are {', '.join(files.names('efficiency'))}, or give a file"
        )
    return {k: v for k, v in _plain(machines.load_efficiency(key)).items() if v}


def _figure(found: Mapping[str, Any]) -> str:
    """A sourced number with its unit, note and source."""
    value, unit = found["value"], found["unit"]
    if unit.endswith("/s"):
        shown = format_rate(value, unit.replace("byte", "B"))
    elif unit == "byte":
        shown = f"{format_bytes(value)} = {value:,.0f} bytes"
    elif unit == "s":
        shown = format_seconds(value)
    else:
        shown = f"{value:,.6g}" + (f" {unit}" if unit != "1" else "")
    source = found.get("source", {})
    where = ", ".join(str(source[key]) for key in ("title", "url", "date") if source.get(key))
    read = f", read {source['read']}" if source.get("read") else ""
    return shown + (f" ({found['note']})" if found.get("note") else "") + f"  [{where}{read}]"


def _inline(value: Any) -> str:
    """Any value within a line; empty ones are left out of tables."""
    if isinstance(value, Mapping):
        shown = (
            (key, f"({_inline(item)})" if isinstance(item, Mapping) else _inline(item)) for key, item in value.items()
        )
        return ", ".join(f"{key} {item}" for key, item in shown if item)
    if isinstance(value, list | tuple):
        return ", ".join(_inline(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,.0f}" if value >= MILLION else f"{value:g}"
    return "" if value is None else str(value)


def _lines(value: Mapping[str, Any], indent: int) -> list[str]:
    pad, lines = "  " * indent, []
    for key, item in value.items():
        if isinstance(item, Mapping) and "value" in item and "unit" in item:
            lines.append(f"{pad}{key}: {_figure(item)}")
        elif isinstance(item, Mapping):
            lines += [f"{pad}{key}:", *_lines(item, indent + 1)]
        elif isinstance(item, list):
            lines += [f"{pad}{key}:", *(f"{pad}  - {_inline(entry)}" for entry in item)] if item else []
        elif shown := _inline(item):
            lines.append(f"{pad}{key}: {shown}")
    return lines


def as_text(found: Mapping[str, Any]) -> str:
    """An entry as indented text."""
    return plain("\n".join(_lines(found, 0)) + "\n")
