"""What an operator may define for the event hub: sources, mappings, routes, targets, syncs. The API takes the same.

The store seals what was given; `masked` shows its secrets as `***`. In TOML a secret may also be `env:NAME` or
`credential:NAME`: it is then read from there when the configuration is loaded.
"""

from zapd.config.hub.defined import KINDS, SECRETS, Defined, masked
from zapd.config.hub.mapping import MappingSpec
from zapd.config.hub.route import (
    MAX_ACTIONS,
    Action,
    AnyAction,
    Deliver,
    Email,
    Emit,
    Enqueue,
    Listen,
    Notify,
    RouteSpec,
    RunFlow,
    Send,
    StartSync,
)
from zapd.config.hub.source import Preset, SourceSpec
from zapd.config.hub.spec import (
    EVENT_TYPE,
    MAX_TYPE,
    NAME,
    TYPE_PATTERN,
    EventType,
    Expression,
    HeaderName,
    HeaderValue,
    Secret,
    Short,
    Spec,
    Template,
    TypePattern,
)
from zapd.config.hub.sync import SyncSpec
from zapd.config.hub.target import ApiKeyAuth, Auth, BasicAuth, BearerAuth, HmacAuth, NoAuth, OAuth2Auth, TargetSpec

__all__ = [
    "EVENT_TYPE",
    "KINDS",
    "MAX_ACTIONS",
    "MAX_TYPE",
    "NAME",
    "SECRETS",
    "TYPE_PATTERN",
    "Action",
    "AnyAction",
    "ApiKeyAuth",
    "Auth",
    "BasicAuth",
    "BearerAuth",
    "Defined",
    "Deliver",
    "Email",
    "Emit",
    "Enqueue",
    "EventType",
    "Expression",
    "HeaderName",
    "HeaderValue",
    "HmacAuth",
    "Listen",
    "MappingSpec",
    "NoAuth",
    "Notify",
    "OAuth2Auth",
    "Preset",
    "RouteSpec",
    "RunFlow",
    "Secret",
    "Send",
    "Short",
    "SourceSpec",
    "Spec",
    "StartSync",
    "SyncSpec",
    "TargetSpec",
    "Template",
    "TypePattern",
    "masked",
]
