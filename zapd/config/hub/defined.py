"""Every kind of definition, and how one is shown."""

from typing import Any, NamedTuple

from zapd.config.hub.mapping import MappingSpec
from zapd.config.hub.route import RouteSpec
from zapd.config.hub.source import SourceSpec
from zapd.config.hub.spec import Spec
from zapd.config.hub.sync import SyncSpec
from zapd.config.hub.target import TargetSpec


class Defined(NamedTuple):
    """What the configuration file defines under one name. `given` is JSON."""

    spec: Spec
    given: bytes


#: A kind of definition, as in `DefinitionKind`.
KINDS: dict[str, type[Spec]] = {
    "source": SourceSpec,
    "mapping": MappingSpec,
    "route": RouteSpec,
    "target": TargetSpec,
    "sync": SyncSpec,
}

#: Keys whose values are secrets, wherever they stand in a spec.
SECRETS = frozenset({"secret", "secrets", "verify_token", "key", "token", "password", "client_secret"})
_PLAIN = frozenset({"payload", "schema"})  #: what stands below these is the operator's own


def masked(given: Any) -> Any:
    """What was given, as the API shows it: secrets that are set are `***`, of headers the names are left."""
    if isinstance(given, list):
        return [masked(item) for item in given]
    if not isinstance(given, dict):
        return given
    shown: dict[str, Any] = {}
    for key, value in given.items():
        hidden = key in SECRETS or (key == "url" and given.get("kind") == "notify")
        if key == "headers" and isinstance(value, dict):
            shown[key] = dict.fromkeys(value, "***")
        elif hidden and value:
            shown[key] = ["***"] * len(value) if isinstance(value, list) else "***"
        else:
            shown[key] = value if key in _PLAIN else masked(value)
    return shown
