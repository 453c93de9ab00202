"""The API's description, made from the table of routes that answers it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import edge_tsm
from edge_tsm.bundle.schema import json_schema
from edge_tsm.service.page_records import ErrorRecord
from edge_tsm.service.web.routes import Route

_PART = re.compile(r"\{(\w+)(:(?:[^{}]|\{[^{}]*\})*)?\}")


def openapi(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the description, OpenAPI 3.1, of all routes that are part of the API."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.documented:
            path = _PART.sub(r"{\1}", route.path)
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "edge-tsm", "version": edge_tsm.__version__},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "cookie": {"type": "apiKey", "in": "cookie", "name": "edge_tsm"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"cookie": []}, {"bearer": []}],
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    parts = [
        {"name": found[1], "in": "path", "required": True, "schema": {"type": "string"}}
        for found in _PART.finditer(route.path)
    ]
    queries = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in route.query.items()
    ]
    error = _content(_reference(ErrorRecord, schemas))
    operation: dict[str, Any] = {
        "summary": route.summary,
        "parameters": [*parts, *queries],
        "responses": {
            **_success(route, schemas),
            "default": {"description": "Why it was refused", **error},
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, **_content(_reference(route.body, schemas))}
    if route.open:
        operation["security"] = []
    return operation


def _success(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    if route.answer is None:
        return {"2XX": {"description": route.summary}}
    if isinstance(route.answer, str):
        return {"200": {"description": route.summary, "content": {route.answer: {}}}}
    answer = _content(_reference(route.answer, schemas))
    return {"200": {"description": route.summary, **answer}}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _reference(kind: type, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the reference to a record, whose schema and those it refers to are noted."""
    if kind.__name__ not in schemas:
        schema = _moved(json_schema(kind))
        schema.pop("$schema", None)
        schemas.update(schema.pop("$defs", {}))
        schemas[kind.__name__] = schema
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _moved(value: Any) -> Any:
    """Return a schema whose references lead to where OpenAPI keeps them."""
    if isinstance(value, dict):
        return {
            key: item.replace("#/$defs/", "#/components/schemas/")
            if key == "$ref"
            else _moved(item)
            for key, item in value.items()
        }
    return [_moved(item) for item in value] if isinstance(value, list) else value
