"""`/openapi.json`: OpenAPI 3.1, made from the list of routes, the bodies and the answers."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema
from typing_extensions import TypedDict

from zapd import __version__
from zapd.web.route import Route

REF = "#/components/schemas/{model}"
JSON = "application/json"
PROBLEM = "application/problem+json"
_PARAMETER = re.compile(r"{(\w+)}")


class Rule(TypedDict):
    """One invalid field and what is allowed."""

    field: str
    rule: str


class Problem(TypedDict, total=False):
    """RFC 9457; `errors` names every invalid field."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Rule]


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document. The same routes always give the same bytes."""
    adapters = {id(route.answer): TypeAdapter(route.answer) for route in routes if route.answer is not None}
    answers, schemas = TypeAdapter.json_schemas(
        [(key, "serialization", adapter) for key, adapter in adapters.items()]
        + [("problem", "serialization", TypeAdapter(Problem))],
        ref_template=REF,
    )
    bodies, body_schemas = models_json_schema(
        [(route.body, "validation") for route in routes if route.body is not None], ref_template=REF
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        body = bodies[route.body, "validation"] if route.body is not None else None
        shown = answers[id(route.answer), "serialization"] if route.answer is not None else {}
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, body, shown)
    return {
        "openapi": "3.1.0",
        "info": {"title": "zapd", "version": __version__, "description": "WhatsApp messages, queues and webhooks."},
        "paths": paths,
        "components": {
            "schemas": {**schemas.get("$defs", {}), **body_schemas.get("$defs", {})},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def _operation(route: Route, body: dict[str, Any] | None, shown: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.resource}_{route.handler.__name__}",
        "tags": [route.resource],
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": {
            **{str(status): _response(route, shown) for status in (route.status, *route.also)},
            "default": {
                "description": "An error",
                "content": {PROBLEM: {"schema": {"$ref": REF.format(model="Problem")}}},
            },
        },
        "security": [],
    }
    if route.scope is not None:
        operation["security"] = [{"bearer": []}, {"apiKey": []}]
        operation["description"] = f"Needs the scope `{route.scope}`."
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {route.takes: {"schema": body}}}
    return operation


def _response(route: Route, shown: dict[str, Any]) -> dict[str, Any]:
    if route.status == 204:
        return {"description": "Done"}
    return {"description": "Done", "content": {route.media: {"schema": shown}}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]


def _query_parameters(query: type[BaseModel] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    schema = query.model_json_schema()
    definitions = schema.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _inlined(field, definitions),
        }
        for name, field in schema["properties"].items()
    ]


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with its references resolved: a parameter cannot bring definitions along."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return definitions[schema["$ref"].rsplit("/", 1)[-1]]
    return {name: _inlined(value, definitions) for name, value in schema.items()}
