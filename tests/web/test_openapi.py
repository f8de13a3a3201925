"""The description says what the API does, and requests made from it break nothing."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pertoken.knobs import KNOBS
from pertoken.web.api import COMMANDS, VIEWS
from pertoken.web.catalog import HIDDEN
from pertoken.web.openapi import description

CHECKS = (not_a_server_error, response_schema_conformance, status_code_conformance, content_type_conformance)
ASKED = {
    "/api/page": {"charts": ["roofline"]},
    "/api/chart": {"chart": "roofline"},
    **{f"/api/{name}": {} for name in COMMANDS},
}


@pytest.fixture(scope="module")
def said():
    return description()


def resolved(said, schema):
    """A schema that stands alone."""
    return {**schema, "components": said["components"]}


def answer_of(said, path):
    responses = said["paths"][path]["post"]["responses"]
    return resolved(said, next(iter(responses["200"]["content"].values()))["schema"])


def test_every_path_is_described(client, said):
    paths = {
        f"/api/{name}" for name in ("knobs", "catalog", "page", "chart", "upload", "export", "simulate", "openapi.json")
    }
    assert set(said["paths"]) == paths | {f"/api/{n}" for n in COMMANDS} | {f"/api/view/{n}" for n in VIEWS}
    assert client.get("/api/openapi.json").json() == said


def test_schemas_are_schemas(said):
    for schema in said["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for path, item in said["paths"].items():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                Draft202012Validator.check_schema(content["schema"])
                if path != "/api/upload":
                    Draft202012Validator(resolved(said, content["schema"])).validate(content["example"])


def test_knobs_are_described(said):
    knobs = said["components"]["schemas"]["Knobs"]["properties"]
    assert set(knobs) == set(KNOBS) - set(HIDDEN)
    for name, schema in knobs.items():
        assert schema["description"].startswith(KNOBS[name].doc)
    asked = Draft202012Validator(resolved(said, said["components"]["schemas"]["Knobs"]))
    good = {"model": "llama-3.1-8b", "on": "8xh100-sxm", "input": "uniform:1-9", "output": 3, "tp": 2, "cached": 0.5}
    asked.validate(good)
    for bad in ({"model": "/etc/passwd"}, {"on": "mine.toml"}, {"cached": 2}, {"efficiency": "x.toml"}, {"tp": 1.5}):
        assert not asked.is_valid(good | bad), bad


@pytest.mark.parametrize("path", [*ASKED, *(f"/api/view/{name}" for name in VIEWS)])
def test_answers_are_as_described(client, knobs, said, path):
    body = {"knobs": knobs, **ASKED.get(path, {})}
    if path == "/api/view/tariff":
        body["knobs"] = {"model": knobs["model"], "on": knobs["on"], "trace": "azure-2023-code"}
    if path == "/api/view/compare":
        body = {"cases": [knobs, {**knobs, "on": "2xh100-sxm"}]}
    found = client.post(path, json=body)
    assert found.status_code == 200, found.text[:300]
    Draft202012Validator(answer_of(said, path)).validate(found.json())


def test_errors_are_as_described(client, knobs, said):
    error = Draft202012Validator(said["components"]["schemas"]["Error"])
    for body in ({}, {"knobs": {"model": "nope"}}, {"knobs": {**knobs, "model": "llama-3.1-405b", "on": "1xl4"}}):
        found = client.post("/api/price", json=body)
        assert str(found.status_code) in said["paths"]["/api/price"]["post"]["responses"]
        error.validate(found.json())


CHECKED = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
                   phases=[Phase.explicit, Phase.generate])  # fmt: skip
drawn = schemathesis.openapi.from_dict(description()).exclude(path="/api/simulate")  # a minute each; tested by itself
drawn.config.phases.update(phases=["examples", "fuzzing"])
edges = schemathesis.openapi.from_dict(description()).include(path="/api/upload")
edges.config.phases.update(phases=["coverage"])


@drawn.parametrize()
@CHECKED
def test_no_request_breaks_it(case, server):
    # a longer run, with the edges of every knob: schemathesis run http://127.0.0.1:8000/api/openapi.json, see docs/page.md
    case.validate_response(case.call(base_url=server.url, timeout=60), checks=CHECKS)


@edges.parametrize()
@CHECKED
def test_no_edge_breaks_it(case, server):
    case.validate_response(case.call(base_url=server.url, timeout=60), checks=CHECKS)
