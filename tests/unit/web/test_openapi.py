"""The document and the list of routes say the same, and the document holds together."""

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

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
    components = DOCUMENT["components"]
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in components[kind]}
    # And nothing stands there for nobody.
    assert set(references(DOCUMENT)) == there


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_is_documented_whole(route: Any) -> None:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    in_path = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
    assert operation["summary"]
    assert in_path == set(re.findall(r"{(\w+)}", route.path))
    assert ("requestBody" in operation) == (route.body is not None or bool(route.raw))
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
    assert statuses <= set(responses)
    assert len({orjson.dumps(responses[status]["content"]) for status in statuses}) == 1


@pytest.mark.parametrize(
    ("method", "path", "refused"),
    [
        ("post", "/connections/{connection}/send", "400 401 403 404 408 409 413 415 422 429 503"),
        ("get", "/connections/{connection}/qr", "400 401 403 404 409 422 429 503"),
        ("get", "/messages/{id}", "400 401 403 404 422 429 503"),
        ("post", "/hooks/{source}", "400 401 403 404 408 413 415 422 429 503"),
        ("get", "/health", "400 429"),
    ],
)
def test_a_route_says_which_errors_it_may_answer_with(method: str, path: str, refused: str) -> None:
    responses = DOCUMENT["paths"][path][method]["responses"]
    errors = {status for status, answer in responses.items() if "$ref" in answer}
    assert errors == {*refused.split(), "default"}
    components = DOCUMENT["components"]["responses"]
    assert all(responses[status]["$ref"].rsplit("/", 1)[-1] in components for status in errors)


def fields(name: str) -> set[str]:
    return set(DOCUMENT["components"]["schemas"][name]["properties"])


@pytest.mark.parametrize(
    ("kind", "some"),
    [
        ("Source", {"verify", "secret", "schema", "tolerance"}),
        ("Mapping", {"jmespath", "json"}),
        ("Route", {"types", "actions", "enabled"}),
        ("Target", {"base_url", "auth", "rate"}),
        ("Sync", {"target", "items", "paging"}),
    ],
)
def test_the_fields_of_a_definition_are_listed_where_it_is_changed_and_shown(kind: str, some: set[str]) -> None:
    own = {"version", "from_file", "created_at", "updated_at"}
    assert some <= fields(f"Create{kind}")
    assert fields(f"Change{kind}") == fields(f"Create{kind}") - {"name"}
    assert fields(f"{kind}Answer") == fields(f"Create{kind}") | own
    assert set(DOCUMENT["components"]["schemas"][f"{kind}Answer"]["required"]) == own | {"name"}
    assert fields(f"{kind}VersionAnswer") == fields(f"{kind}Answer") | {"active"}


def test_a_target_is_shown_with_its_health() -> None:
    answer = DOCUMENT["paths"]["/targets/{name}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert fields(answer["$ref"].rsplit("/", 1)[-1]) == fields("TargetAnswer") | {"health"}


def test_the_settings_of_every_transport_are_listed() -> None:
    assert {"rate_per_minute", "phone_number_id", "instance_id", "phone", "pair_after"} <= fields("ConnectionConfig")


def schemas(value: Any, name: str = "") -> Iterator[dict[str, Any]]:
    """Every schema of the document."""
    if isinstance(value, list):
        for item in value:
            yield from schemas(item)
    elif isinstance(value, dict):
        if name not in ("properties", "schemas", "paths", "responses", "content", "mapping", "headers"):
            yield value
        for key, item in value.items():
            yield from schemas(item, key if name != "properties" else "")


def test_bounds_have_the_names_of_json_schema() -> None:
    found = list(schemas(DOCUMENT))
    assert not [schema for schema in found if {"ge", "le", "gt", "lt", "x-schema"} & set(schema)]
    priority = DOCUMENT["components"]["schemas"]["SendMessage"]["properties"]["priority"]["anyOf"][0]
    assert (priority["minimum"], priority["maximum"]) == (1, 10)


def test_a_default_fits_its_type() -> None:
    assert not [s for s in schemas(DOCUMENT) if s.get("type") == "string" and not isinstance(s.get("default", ""), str)]
    assert not [s for s in schemas(DOCUMENT) if "default" in s and s["default"] is None]


def test_no_parameter_is_null() -> None:
    operations = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]
    parameters = [parameter["schema"] for operation in operations for parameter in operation["parameters"]]
    assert not [schema for schema in parameters if {"type": "null"} in schema.get("anyOf", ())]


def test_headers_that_a_route_looks_at_are_parameters() -> None:
    def headers(method: str, path: str) -> list[str]:
        return [p["name"] for p in DOCUMENT["paths"][path][method]["parameters"] if p["in"] == "header"]

    for path in ("/connections/{connection}/send", "/connections/{connection}/send/bulk", "/events"):
        assert headers("post", path) == ["Idempotency-Key"]
    assert headers("get", "/stream") == ["Last-Event-ID"]


def test_the_qr_code_comes_in_four_ways() -> None:
    content = DOCUMENT["paths"]["/connections/{connection}/qr"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"image/png", "image/svg+xml", "text/plain", "application/json"}


JSON_BODIES = [route for route in ROUTES if route.body is not None and route.takes == "application/json"]


@pytest.mark.parametrize("route", JSON_BODIES, ids=lambda route: f"{route.method} {route.path}")
def test_each_body_has_an_example_that_is_taken(route: Any) -> None:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    content = operation["requestBody"]["content"]["application/json"]
    route.body.model_validate_json(orjson.dumps(content["example"]))
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(content["example"])


def test_a_change_of_a_definition_has_an_example_of_its_own() -> None:
    changes = [DOCUMENT["paths"][f"/{kind}/{{name}}"]["patch"] for kind in ("sources", "routes", "targets", "syncs")]
    examples = [change["requestBody"]["content"]["application/json"]["example"] for change in changes]
    assert len({orjson.dumps(example) for example in examples}) == len(examples)


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
