"""The document and the list of routes say the same, and the document holds together."""

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from zapd.model.access import Scope
from zapd.web.docs import rendered_openapi, rendered_page
from zapd.web.openapi import document
from zapd.web.routes import ROUTES

DOCUMENT = document(ROUTES)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_route_is_in_the_document_and_nothing_else_is() -> None:
    documented = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert documented == {(route.method, route.path) for route in ROUTES}
    assert len(documented) == len(ROUTES)


def test_each_handler_serves_one_route() -> None:
    # The gate finds a request's route by its handler.
    assert len({route.handler for route in ROUTES}) == len(ROUTES)


def test_every_reference_resolves() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    wanted = set(references(DOCUMENT))
    assert wanted
    assert {name.removeprefix("#/components/schemas/") for name in wanted} <= set(schemas)


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_is_documented_whole(route: Any) -> None:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    in_path = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
    assert operation["summary"]
    assert in_path == set(re.findall(r"{(\w+)}", route.path))
    assert ("requestBody" in operation) == (route.body is not None)
    assert bool(operation["security"]) == (route.scope is not None)
    assert str(route.status) in operation["responses"]
    if route.media == "application/json" and route.status != 204:
        assert operation["responses"][str(route.status)]["content"][route.media]["schema"]


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("get", "/health", {"200", "503"}),  # what the probes read is no problem+json
        ("get", "/ready", {"200", "503"}),
        ("post", "/events", {"202", "200"}),  # with `sync`
    ],
)
def test_an_answer_under_another_status_is_documented_too(method: str, path: str, statuses: set[str]) -> None:
    responses = DOCUMENT["paths"][path][method]["responses"]
    assert set(responses) == {*statuses, "default"}
    assert len({orjson.dumps(responses[status]) for status in statuses}) == 1


def test_only_these_routes_ask_for_no_key() -> None:
    assert {route.path for route in ROUTES if route.scope is None} == {
        "/health",
        "/ready",
        "/docs",
        "/openapi.json",
        "/hooks/cloud/{connection}",
        "/hooks/zapi/{connection}/{secret}",
        "/media/{id}",  # the signature in its query is the key
        "/.well-known/webhook-keys.json",
        "/hooks/{source}",
    }


def test_what_changes_something_needs_more_than_read() -> None:
    changing = [route for route in ROUTES if route.method != "GET" and not route.path.startswith("/hooks")]
    assert changing
    assert all(route.scope not in (None, Scope.READ) for route in changing)


def test_it_is_json_of_openapi_3_1() -> None:
    assert orjson.loads(rendered_openapi(ROUTES))["openapi"].startswith("3.1")


def test_the_page_names_every_route_and_has_no_script() -> None:
    page = rendered_page(ROUTES)
    assert all(f"{route.method} {route.path}" in page for route in ROUTES)
    assert "<script" not in page
