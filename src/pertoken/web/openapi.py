"""The API described in OpenAPI 3.1, made from the table of knobs and the names of the catalog."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pertoken import __version__
from pertoken.catalog import files, traces
from pertoken.knobs import KNOBS, Knob
from pertoken.model.precision import FORMATS
from pertoken.web import charts
from pertoken.web.api import COMMANDS, VIEWS
from pertoken.web.asked import MOST_CASES
from pertoken.web.catalog import HIDDEN, START
from pertoken.web.commands import OPTIONS
from pertoken.web.exports import FORMS

Schema = dict[str, Any]
UPLOAD: Schema = {"type": "string", "pattern": "^upload:[0-9a-f]{32}$"}
OBJECT: Schema = {"type": "object"}
ERROR: Schema = {
    "type": "object",
    "required": ["error", "exit_code"],
    "properties": {
        "error": {"type": "string", "description": "A sentence: the value, the allowed range and what to do."},
        "exit_code": {"enum": [2, 3], "description": "Of the command: 2 bad input, 3 does not fit."},
    },
}
UNITS = {"bytes": "GB/s|GB|MB", "seconds": "s|ms|min", "count": "k|m"}
_NUMBER = "[0-9]{1,4}([.][0-9]{1,3})?"
WRITTEN = {  # knobs that are numbers or short texts
    "input": "[1-9][0-9]{0,5}|uniform:[1-9][0-9]{0,3}-[1-9][0-9]{0,5}|p50=[1-9][0-9]{0,4},p90=[1-9][0-9]{0,5}",
    "rate": f"rent|own|rent:({_NUMBER}|neocloud|hyperscaler|marketplace|spot)|power:{_NUMBER}"
    f"|own:[1-9][0-9]{{2,5}},life=[1-9]y,power={_NUMBER}",
    "utilisation": "0[.][0-9]{1,3}|1",
    "embodied": f"cited|{_NUMBER}",
    "currency": f"[A-Z]{{3}}={_NUMBER}",
}
WRITTEN["output"] = WRITTEN["input"]
REFUSALS = {
    "400": "What was asked is not allowed", "403": "Asked from a page of another site", "405": "Not asked in this way",
    "408": "The body came too slowly", "413": "The body is too long", "415": "Another content type is needed",
    "421": "Host is not this machine", "422": "It does not fit, or takes too long", "503": "Too much is being computed already",
}  # fmt: skip


def _names(*kinds: str) -> list[str]:
    return [name for kind in kinds for name in files.names(kind)]


def _choices(name: str) -> Schema | None:
    """Knobs that are names."""
    if name == "model":
        return {"anyOf": [{"enum": _names("models")}, UPLOAD]}
    if name == "trace":
        return {"anyOf": [{"enum": traces.names()}, UPLOAD]}
    if name == "on":
        each = "|".join(n.replace(".", "[.]") for n in _names("accelerators"))
        return {"type": "string", "pattern": f"^([1-9][0-9]{{0,4}}x)?({each})$"}
    if name in WRITTEN:
        return {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^({WRITTEN[name]})$"}]}
    known = {"engine": _names("engines"), "dtype": list(FORMATS), "kv_dtype": list(FORMATS)}.get(name)
    return {"enum": known} if known else None


def knob_schema(knob: Knob) -> Schema:
    """One knob: a number where it has a unit, as text where it is written so."""
    said = knob.doc + (f" [{knob.unit}]" if knob.unit else "")
    if knob.choices:
        return {"enum": list(knob.choices), "description": said}
    found = _choices(knob.name)
    if found is None and knob.kind == "text":
        found = {"type": ["string", "number"], "minLength": 1, "maxLength": 4096}
    elif found is None:
        found = {"type": "integer" if knob.kind == "whole" else "number"}
        found |= {"minimum": knob.low, "maximum": knob.high} if math.isfinite(knob.low) else {}
        if knob.kind in UNITS:
            found = {"anyOf": [found, {"type": "string", "pattern": f"^[1-9][0-9]{{0,5}} ?({UNITS[knob.kind]})$"}]}
    return {**found, "description": said}


def _objects() -> dict[str, Schema]:
    """Parts that several paths use."""
    knobs = {k.name: knob_schema(k) for k in KNOBS.values() if k.name not in HIDDEN}
    number: Schema = {"type": ["number", "null"]}
    return {
        "Error": ERROR,
        "Knobs": {"type": "object", "required": ["model"], "properties": knobs, "additionalProperties": False},
        "Interval": {
            "type": "object",
            "required": ["value", "low", "high"],
            "properties": {"value": number, "low": number, "high": number},
        },
        "Figure": {
            "type": "object",
            "required": ["label", "value", "unit", "shown", "formula", "inputs", "basis"],
            "properties": {
                "label": {"type": "string"}, "value": number, "low": number, "high": number, "unit": {"type": "string"},
                "shown": {"type": "string"}, "range": {"type": ["string", "null"]}, "formula": {"type": "string"},
                "inputs": {"type": "array", "items": OBJECT}, "basis": {"type": "string"}, "url": {"type": ["string", "null"]},
            },
        },
        "Table": {
            "type": "object",
            "required": ["title", "head", "rows"],
            "properties": {
                "title": {"type": "string"}, "head": {"type": "array"}, "rows": {"type": "array", "items": {"type": "array"}},
                "note": {"type": ["string", "null"]},
            },
        },
    }  # fmt: skip


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _body(more: Mapping[str, Schema], required: Sequence[str] = (), example: Mapping[str, Any] | None = None) -> Schema:
    """A request: knobs of one case or of several, and more."""

    def form(name: str, schema: Schema) -> Schema:
        return {
            "type": "object",
            "required": [name, *required],
            "properties": {name: schema, **more},
            "additionalProperties": False,
        }

    cases = {"type": "array", "minItems": 1, "maxItems": MOST_CASES, "items": _ref("Knobs")}
    schema = {"oneOf": [form("knobs", _ref("Knobs")), form("cases", cases)]}
    shown = {"knobs": dict(START), **(example or {})}
    return {"required": True, "content": {"application/json": {"schema": schema, "example": shown}}}


def _options(names: Sequence[str]) -> Schema:
    value: Schema = {"type": ["string", "number", "boolean"]}
    each = {"anyOf": [value, {"type": "array", "items": value, "maxItems": 50}]}
    return {"type": "object", "properties": dict.fromkeys(names, each), "additionalProperties": False}


def _answers(schema: Schema, kind: str = "application/json") -> dict[str, Any]:
    refused = {"content": {"application/json": {"schema": _ref("Error")}}}
    return {
        "200": {"description": "The answer", "content": {kind: {"schema": schema}}},
        **{status: {"description": said, **refused} for status, said in REFUSALS.items()},
    }


def _asks(summary: str, body: Schema, schema: Schema, kind: str = "application/json") -> Schema:
    return {"post": {"summary": summary, "requestBody": body, "responses": _answers(schema, kind)}}


def _gives(summary: str, schema: Schema) -> Schema:
    return {"get": {"summary": summary, "responses": _answers(schema)}}


def _shape(*required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _paths() -> dict[str, Any]:
    texts: Schema = {"type": "array", "items": {"type": "string"}}
    chart: Schema = {"enum": list(charts.NAMES)}
    page = _shape(
        "headline", "why", "figures", "receipt", "scenario", "effective", "assumed", "warnings", "rows",
        headline={"type": "string"}, why={"type": "string"}, details=texts, assumed=texts, warnings=texts,
        figures={"type": "object", "additionalProperties": _ref("Figure")}, receipt={"type": "array", "items": OBJECT},
        why_parts={"type": "array", "items": {"oneOf": [{"type": "string"}, _ref("Figure")]}}, interval={"type": "string"},
        parts={"type": "array", "items": OBJECT}, scenario=OBJECT, effective=OBJECT,
        rows={"type": "object", "additionalProperties": OBJECT},
    )  # fmt: skip
    view = _shape("title", title={"type": "string"}, sentences=texts, tables={"type": "array", "items": _ref("Table")})
    several: Schema = {"type": "array", "items": chart, "maxItems": 30}
    paths: dict[str, Any] = {
        "/api/knobs": _gives("Knobs, their ranges and sliders, and those of the first screen", OBJECT),
        "/api/catalog": _gives("Models, accelerators, engines, traces and formats", OBJECT),
        "/api/openapi.json": _gives("This description", OBJECT),
        "/api/page": _asks("The first screen and rows of charts", _body({"charts": several, "options": OBJECT}), page),
        "/api/chart": _asks(
            "A chart as a Vega-Lite specification, rows included",
            _body({"chart": chart, "options": OBJECT}, ["chart"], {"chart": "roofline"}),
            _shape("datasets"),
        ),
        "/api/simulate": _asks(
            "Lines of JSON: progress from 0 to 1 and seconds left, then result or error",
            _body({"options": _options(OPTIONS["simulate"])}, example={"options": {"requests": 1000}}),
            {"type": "string"},
            "application/x-ndjson",
        ),
        "/api/upload": _uploading(),
        "/api/export": _exporting(chart),
    }
    for name in COMMANDS:
        body = _body({"options": _options(OPTIONS[name])})
        paths[f"/api/{name}"] = _asks(f"What pertoken {name} --json prints", body, OBJECT)
    for name in VIEWS:
        paths[f"/api/view/{name}"] = _asks(f"What the view {name} shows", _body({"options": OBJECT}), view)
    return paths


def _uploading() -> Schema:
    found = _shape("upload", "kind", "summary", upload=UPLOAD, kind={"enum": ["trace", "model", "usage"]})
    text = {"schema": {"type": "string"}, "example": "input,output\n1200,150\n"}
    config = {"schema": OBJECT, "example": {"model_type": "llama"}}
    body = {"required": True, "content": {"text/csv": text, "application/json": config}}
    said = "Requests or tokens by day as CSV, a model's config.json, or requests as JSON lines (application/x-ndjson)"
    path = _asks(said, body, found)
    name = {
        "name": "name",
        "in": "query",
        "schema": {"type": "string"},
        "description": "The file's name, as it is shown.",
    }
    path["post"]["parameters"] = [name]
    return path


def _exporting(chart: Schema) -> Schema:
    forms = sorted({form for found in FORMS.values() for form in found})
    more = {"what": {"enum": list(FORMS)}, "form": {"enum": forms}, "chart": chart, "options": OBJECT}
    body = _body(more, ["what", "form"], {"what": "price", "form": "csv"})
    return _asks("An answer as a file", body, {}, "*/*")


def description() -> dict[str, Any]:
    """The description, as plain data."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pertoken",
            "version": __version__,
            "description": "What an input, a cached and an output token of a language model cost, and why. SI units. Names are"
            " of the catalog or upload:ID; there are no paths.",
        },
        "paths": _paths(),
        "components": {"schemas": _objects()},
    }
