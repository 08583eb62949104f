"""The description of the service for programs, OpenAPI 3.1: made of the types that are read and written."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

import quarry_dagster
from quarry_dagster.asking.questions import Contained, Neighbour
from quarry_dagster.asking.what_if import Verdict
from quarry_dagster.serve.asked import ContainsAsked, DecideAsked, SimilarAsked

_REF = "#/components/schemas/{model}"
_ENDPOINTS = {
    "contains": (ContainsAsked, list[Contained], "Whether the corpus has a text, by which rule, and the witness"),
    "similar": (SimilarAsked, list[list[Neighbour]], "The documents nearest to a text by meaning"),
    "decide": (DecideAsked, list[Verdict], "What a run would do with a document if nothing else came"),
}
_PROBLEMS = {
    "400": "the body is no JSON in UTF-8",
    "401": "no key, or one that is not known",
    "408": "the body came too slowly",
    "413": "the body is too large",
    "415": "the body is of another type",
    "421": "the service does not answer to that name",
    "422": "what is asked for is not to be had",
    "429": "too many requests wait",
    "500": "it could not be answered",
    "503": "nothing to answer with yet, or not within the deadline",
}


@cache
def document() -> dict[str, Any]:
    """The document."""
    modes: dict[str, JsonSchemaMode] = {"asked": "validation", "answered": "serialization"}
    inputs: list[tuple[str, JsonSchemaMode, Any]] = [
        (f"{name}.{part}", modes[part], TypeAdapter(kind).core_schema)
        for name, (asked, answered, _) in _ENDPOINTS.items()
        for part, kind in (("asked", asked), ("answered", answered))
    ]
    schemas, components = GenerateJsonSchema(ref_template=_REF).generate_definitions(inputs)
    paths: dict[str, Any] = {}
    for name, (_, _, summary) in _ENDPOINTS.items():
        asked, answered = (schemas[f"{name}.{part}", mode] for part, mode in modes.items())
        body = {"application/json": {"schema": asked}, "application/x-ndjson": {"schema": {"type": "string"}}}
        paths[f"/v1/{name}"] = {
            "post": _operation(name, summary, _results(answered)) | {"requestBody": {"required": True, "content": body}}
        }
    at = {"name": "doc_id", "in": "path", "required": True, "schema": {"type": "string"}}
    include = {"name": "include", "in": "query", "schema": {"type": "string", "enum": ["removed"]}}
    found = _operation("document", "What is known of a document", {"type": "object"})
    found["responses"]["404"] = _problem("the corpus keeps no such document")
    paths["/v1/documents/{doc_id}"] = {"get": found | {"parameters": [at, include]}}
    plain = {"healthz": "Whether the process lives", "readyz": "Whether it can answer"}
    paths |= {
        f"/{name}": {"get": _operation(name, said, {"type": "object"}) | {"security": []}}
        for name, said in plain.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "QuarryCore", "version": quarry_dagster.__version__},
        "security": [{}, {"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": components | {"Problem": _PROBLEM},
        },
    }


_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {name: {"type": "string"} for name in ("type", "title", "detail", "instance")}
    | {"status": {"type": "integer"}},
}


def _results(of: Any) -> dict[str, Any]:
    snapshot = {"type": "integer", "description": "the number of the corpus that answered"}
    return {"type": "object", "required": ["snapshot", "results"], "properties": {"snapshot": snapshot, "results": of}}


def _operation(name: str, summary: str, answer: dict[str, Any]) -> dict[str, Any]:
    good = {"description": "the answer", "content": {"application/json": {"schema": answer}}}
    problems = {status: _problem(said) for status, said in _PROBLEMS.items()}
    return {"operationId": name, "summary": summary, "responses": {"200": good, **problems}}


def _problem(said: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model="Problem")}
    return {"description": said, "content": {"application/problem+json": {"schema": schema}}}
