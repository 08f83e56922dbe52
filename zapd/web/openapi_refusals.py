"""What `/openapi.json` says of errors: which statuses a route may answer with, each described once."""

from typing import Any

from zapd.web.openapi_schemas import ref
from zapd.web.route import Route

PROBLEM = "application/problem+json"
_RETRY = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}}
_PACE = {
    **_RETRY,
    "RateLimit-Limit": {"description": "requests that may come at once", "schema": {"type": "integer"}},
    "RateLimit-Remaining": {"description": "requests that are left", "schema": {"type": "integer"}},
    "RateLimit-Reset": {"description": "seconds until there are more", "schema": {"type": "integer"}},
}
#: Status: its name among the components, what it means, and headers of its own.
_KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "400": ("BadRequest", "The body is not JSON, or a header that decides something came twice.", {}),
    "401": (
        "Unauthorized",
        "The API key, or the proof of a webhook, is missing or wrong.",
        {"WWW-Authenticate": {"schema": {"type": "string"}}},
    ),
    "403": ("Forbidden", "The key lacks the scope, is bound to another connection, or is not the operator's.", {}),
    "404": ("NotFound", "There is no such thing.", {}),
    "408": ("RequestTimeout", "The body did not arrive in time.", {}),
    "409": ("Conflict", "It exists already, or its state does not allow this.", {}),
    "413": ("ContentTooLarge", "The body is over the limit.", {}),
    "415": ("UnsupportedMediaType", "The body is compressed, or of a type that is not taken here.", {}),
    "422": ("InvalidInput", "Fields or parameters break a rule; `errors` names each.", {}),
    "429": ("TooManyRequests", "This key or address sends more than its rate.", _PACE),
    "503": ("Unavailable", "What this needs is away at the moment.", _RETRY),
    "default": ("Error", "An error", {}),
}


def _component(told: str, headers: dict[str, Any]) -> dict[str, Any]:
    described = {"description": told, "content": {PROBLEM: {"schema": ref("Problem")}}}
    return described | ({"headers": headers} if headers else {})


#: For `components.responses`.
COMPONENTS = {name: _component(told, headers) for name, told, headers in _KINDS.values()}


def refusals(route: Route) -> dict[str, Any]:
    """References to the errors that the route may answer with. What it answers itself under a status goes before."""
    told = {"400", "429", "503", "default"}
    if route.scope is not None:
        told |= {"401", "403"}
        if route.method != "GET" or route.conflicts:
            told.add("409")
    if "{" in route.path:
        told.add("404")
        if route.scope is None:  # a signature or a secret is the key
            told |= {"401", "403"}
    if not route.any_query:
        told.add("422")
    if route.body is not None or route.raw:
        told |= {"408", "413", "415", "422"}
    own = {str(status) for status in (route.status, *route.also)}
    return {
        status: {"$ref": f"#/components/responses/{name}"}
        for status, (name, _, _) in _KINDS.items()
        if status in told - own
    }
