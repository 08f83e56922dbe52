"""`/openapi.json`: OpenAPI 3.1, made from the list of routes, the bodies and the answers."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema
from typing_extensions import TypedDict

from zapd import __version__
from zapd.web import openapi_definitions
from zapd.web.openapi_refusals import COMPONENTS, refusals
from zapd.web.openapi_schemas import JSON, inlined, ref, tidied, unnull, used
from zapd.web.route import Route

_PARAMETER = re.compile(r"{(\w+)}")
_HEADERS = {
    "Idempotency-Key": "The same key and body get the first answer again; another body gets 409.",
    "Last-Event-ID": "The id of the last event that was seen: the stream goes on behind it.",
    "X-Hub-Signature-256": "Meta's signature over the body, with the app secret.",
}
_RAW_UPLOAD = {
    "application/octet-stream": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
}


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
    from zapd.web.examples import EXAMPLES  # noqa: PLC0415  # only whoever reads the document needs them

    adapters = {id(route.answer): TypeAdapter(route.answer) for route in routes if route.answer is not None}
    answers, schemas = TypeAdapter.json_schemas(
        [(key, "serialization", adapter) for key, adapter in adapters.items()]
        + [("problem", "serialization", TypeAdapter(Problem))],
        ref_template=ref("{model}")["$ref"],
    )
    bodies, body_schemas = models_json_schema(
        [(route.body, "validation") for route in routes if route.body is not None],
        ref_template=ref("{model}")["$ref"],
    )
    known = {**schemas.get("$defs", {}), **body_schemas.get("$defs", {})}
    made: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        body = bodies[route.body, "validation"] if route.body is not None else None
        shown = answers[id(route.answer), "serialization"] if route.answer is not None else {}
        if route.defines is not None:
            body, shown = openapi_definitions.of(route, body, shown, known=known, made=made)
        example = EXAMPLES.get(route.body, EXAMPLES.get((route.body, route.defines)))
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, body, shown, example)
    return {
        "openapi": "3.1.0",
        "info": {"title": "zapd", "version": __version__, "description": "WhatsApp messages, queues and webhooks."},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(route.resource for route in routes)],
        "paths": paths,
        "components": {
            "schemas": used({name: tidied(schema) for name, schema in {**known, **made}.items()}, paths, COMPONENTS),
            "responses": COMPONENTS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def _operation(route: Route, body: dict[str, Any] | None, shown: dict[str, Any], example: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.resource}_{route.handler.__name__}",
        "tags": [route.resource],
        "parameters": [
            *_path_parameters(route.path),
            *_query_parameters(route.query),
            *map(_header_parameter, route.headers),
        ],
        "responses": {
            **{str(status): _response(route, status, shown) for status in (route.status, *route.also)},
            **refusals(route),
        },
        "security": [],
    }
    if route.scope is not None:
        operation["security"] = [{"bearer": []}, {"apiKey": []}]
        operation["description"] = f"Needs the scope `{route.scope}`."
    content = _request_content(route, body, example)
    if content:
        operation["requestBody"] = {"required": bool(route.raw) or body_needed(route.body), "content": content}
    return operation


def body_needed(model: type[BaseModel] | None) -> bool:
    """Whether an empty body, which counts as `{}`, is refused."""
    return model is not None and any(field.is_required() for field in model.model_fields.values())


def _request_content(route: Route, body: dict[str, Any] | None, example: Any) -> dict[str, Any]:
    if route.raw:
        return {route.raw: {"schema": {}}}
    if body is None:
        return {}
    if route.takes != JSON:
        return {route.takes: {"schema": body}, **_RAW_UPLOAD}
    return {JSON: {"schema": body} | ({"example": example} if example is not None else {})}


def _response(route: Route, status: int, shown: dict[str, Any]) -> dict[str, Any]:
    told = {"description": HTTPStatus(status).phrase}
    if status == 204:
        return told
    return {**told, "content": {media: _content(media, shown) for media in (route.media, *route.also_as)}}


def _content(media: str, shown: dict[str, Any]) -> dict[str, Any]:
    if media == JSON:
        return {"schema": shown}
    text = media.startswith("text/") or media == "application/x-ndjson"
    return {"schema": {"type": "string"} if text else {"type": "string", "contentMediaType": media}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
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
            "schema": unnull(tidied(inlined(field, definitions))),
        }
        for name, field in schema["properties"].items()
    ]


def _header_parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": _HEADERS[name],
        "schema": {"type": "string"},
    }
