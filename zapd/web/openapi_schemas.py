"""JSON Schemas for the OpenAPI document, where pydantic's need a hand."""

from typing import Any

JSON = "application/json"
#: Constraints that pydantic leaves under its own names where a validator stands before the type.
_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_NAMED = ("properties", "$defs", "mapping")  #: below these are names, not keywords


def ref(name: str) -> dict[str, Any]:
    """A reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def tidied(schema: Any) -> Any:
    """With bounds as JSON Schema calls them, and without a default of null, which says the same as its absence.

    `x-schema` becomes a reference: pydantic takes none that it did not make.
    """
    if isinstance(schema, list):
        return [tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "x-schema" in schema:
        return ref(schema["x-schema"])
    return {
        _BOUNDS.get(key, key): {name: tidied(item) for name, item in value.items()} if key in _NAMED else tidied(value)
        for key, value in schema.items()
        if (key, value) != ("default", None)
    }


def unnull(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter cannot be null: it is there or it is not."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**kinds[0], **{key: value for key, value in schema.items() if key != "anyOf"}}


def used(schemas: dict[str, Any], *roots: Any) -> dict[str, Any]:
    """Those that the roots refer to, directly or not."""
    wanted, left = set[str](), list(roots)
    while left:
        item = left.pop()
        if isinstance(item, dict):
            name = str(item.get("$ref", "")).rsplit("/", 1)[-1]
            if name in schemas and name not in wanted:
                wanted.add(name)
                left.append(schemas[name])
            left += item.values()
        elif isinstance(item, list):
            left += item
    return {name: schema for name, schema in schemas.items() if name in wanted}


def inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with its references resolved: a parameter cannot bring definitions along."""
    if isinstance(schema, list):
        return [inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {**definitions[schema["$ref"].rsplit("/", 1)[-1]], **{k: v for k, v in schema.items() if k != "$ref"}}
    return {name: inlined(value, definitions) for name, value in schema.items()}
