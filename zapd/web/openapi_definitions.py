"""What `/openapi.json` says of definitions: the fields of each kind, as one is changed and as it is shown.

A definition is stored as it was given and its secrets are masked, so an answer has the fields of the body that made
it, but needs none of them, and `***` may stand where the body has a rule.
"""

from typing import Any

from zapd.web.bodies import ChangeDefinition
from zapd.web.openapi_schemas import ref
from zapd.web.route import Route

_RULES = frozenset({"default", "minLength", "pattern", "minItems"})  #: that `***` breaks, or that say what is not given


def of(
    route: Route,
    body: dict[str, Any] | None,
    shown: dict[str, Any],
    *,
    known: dict[str, Any],
    made: dict[str, Any],
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Body and answer of a route of one kind. New schemas go into `made`."""
    assert route.defines is not None
    create = route.defines.__name__
    kind = create.removeprefix("Create")
    fields: dict[str, Any] = known[create]["properties"]
    if route.body is ChangeDefinition:
        made[f"Change{kind}"] = {
            "type": "object",
            "description": "The fields to change; null takes a field back to its default. What is not named stays.",
            "properties": {name: _or_null(field) for name, field in fields.items() if name != "name"},
            "additionalProperties": False,
        }
        body = ref(f"Change{kind}")
    return body, _shown(shown, kind, fields, known=known, made=made)


def _shown(
    shown: dict[str, Any], kind: str, fields: dict[str, Any], *, known: dict[str, Any], made: dict[str, Any]
) -> dict[str, Any]:
    if "$ref" not in shown:
        return shown
    name = shown["$ref"].rsplit("/", 1)[-1]
    schema = known[name]
    if name.startswith("Page_"):
        item = _shown(schema["properties"]["data"]["items"], kind, fields, known=known, made=made)
        data = {**schema["properties"]["data"], "items": item}
        made[f"{kind}{name.removesuffix('_')}"] = {**schema, "properties": {**schema["properties"], "data": data}}
        return ref(f"{kind}{name.removesuffix('_')}")
    new = name.replace("Definition", kind) if "Definition" in name else f"{kind}{name}"
    made[new] = {
        **{key: value for key, value in schema.items() if key != "additionalProperties"},
        "title": new,
        "properties": {**{key: _given(field) for key, field in fields.items()}, **schema["properties"]},
    }
    return ref(new)


def _or_null(field: dict[str, Any]) -> dict[str, Any]:
    bare = {key: value for key, value in field.items() if key != "default"}
    return {"anyOf": [bare, {"type": "null"}]}


def _given(field: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in field.items() if key not in _RULES}
