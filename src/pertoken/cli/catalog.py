"""What ``list`` and ``show`` print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from pertoken.catalog import files, machines, rates, traces
from pertoken.catalog.models import from_entry, load_checkpoint
from pertoken.errors import PertokenError
from pertoken.model.model import Block, Checkpoint
from pertoken.sources import Sourced
from pertoken.units import GIGA, MILLION, TERA, format_bytes, format_rate


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
        keys = ("accelerator", "provider", "segment", "region", "median", "low", "high", "since", "note")
        return [{key: getattr(offer, key) for key in keys} for offer in rates.offers()]
    return [_trace_row(name) for name in traces.names()]


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
    return dict(_plain(machines.load_profile(name)))


def _lines(value: Any, indent: int) -> list[str]:
    pad = "  " * indent
    if isinstance(value, Mapping):
        if "value" in value and "unit" in value:
            source = value.get("source", {})
            where = ", ".join(str(source[key]) for key in ("title", "url", "date", "read") if source.get(key))
            note = f" ({value['note']})" if value.get("note") else ""
            return [f"{value['value']:.6g} {value['unit']}{note}  [{where}]"]
        lines = []
        for key, item in value.items():
            inner = _lines(item, indent + 1)
            if len(inner) == 1 and not (isinstance(item, Mapping | list) and inner[0].startswith(pad)):
                lines.append(f"{pad}{key}: {inner[0].strip()}")
            elif inner:
                lines += [f"{pad}{key}:", *inner]
        return lines
    if isinstance(value, list):
        return [f"{pad}- {' '.join(line.strip() for line in _lines(item, 0))}" for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and value >= MILLION:
        return [f"{value:,}"]
    return [str(value)]


def as_text(found: Mapping[str, Any]) -> str:
    """An entry as indented text."""
    return "\n".join(_lines(found, 0)) + "\n"
