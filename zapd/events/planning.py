"""Which rules an event meets and what they ask for: each rule's *matched*, or *not matched because …*, is kept.

Everything that an action will send is rendered here, from the event as it is now. An action whose rendering fails is
dead from the start, with its reason; the other actions of the event go on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from zapd.config.hub import Action, MappingSpec
from zapd.events.envelope import context_of
from zapd.events.evaluator import Evaluator
from zapd.events.expressions import BadExpression, holds, search
from zapd.events.registry import Entry, Registry, route_of
from zapd.events.rendering import Rendered, render
from zapd.ids import Ids
from zapd.model.hub import ActionRow, ActionState, DefinitionKind, EventState
from zapd.model.webhook import Event, wants
from zapd.telemetry.redaction import redacted

MAX_SHOWN = 4_000  #: bytes of a mapping's input and output in a trace
LISTENER_ATTEMPTS, LISTENER_BACKOFF = 5, 10_000


@dataclass
class Plan:
    """What is to be done about an event, and why. `error`: no rule could be applied to it."""

    trace: dict[str, Any] = field(default_factory=dict)
    actions: list[ActionRow] = field(default_factory=list)
    error: str | None = None
    data: Any = None  #: the event's data after its source's mapping


class Planner:
    """Applies the rules. `listeners(tenant, type)` names the listeners of a type; `seal` hides what is secret."""

    def __init__(
        self,
        *,
        registry: Registry,
        evaluator: Evaluator,
        listeners: Callable[[str, str], Sequence[str]],
        seal: Callable[[str], str],
        ids: Ids,
        now_ms: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._evaluator = evaluator
        self._listeners = listeners
        self._seal = seal
        self._ids = ids
        self._now_ms = now_ms

    def concerns(self, tenant: str, event_type: str) -> bool:
        """Whether any rule or listener might want events of this type."""
        return bool(self._listeners(tenant, event_type)) or any(
            wants(tuple(route_of(entry).types), event_type) for entry in self._registry.routes(tenant)
        )

    async def plan(self, event: Event, state: EventState) -> Plan:
        """Apply every rule of the tenant to an event."""
        plan = Plan()
        try:
            context = await self._context(event, state, plan)
        except BadExpression as error:
            plan.error = redacted(f"{error} (event {event.id})")
            plan.trace["error"] = plan.error
            return plan
        plan.data = context["data"]
        plan.trace["routes"] = []
        for entry in self._registry.routes(event.tenant):
            await self._apply(entry, event, state, context, plan)
        plan.trace["listeners"] = names = list(self._listeners(event.tenant, event.type))
        for name in names:
            heard = self._row(event, state, route="listener", kind="listener", rendered=Rendered(name, {"name": name}))
            plan.actions.append(heard)
        return plan

    async def _context(self, event: Event, state: EventState, plan: Plan) -> dict[str, Any]:
        context = context_of(event, state)
        source = self._registry.get(event.tenant, DefinitionKind.SOURCE, state.source or "")
        name = getattr(source.spec, "mapping", "") if source else ""
        if not name:
            return context
        before = context["data"]
        context["data"] = await self.mapped(event.tenant, name, context)
        plan.trace["mapping"] = {"name": self._label(event.tenant, name), **shown(before, context["data"])}
        return context

    async def _apply(self, entry: Entry, event: Event, state: EventState, context: dict[str, Any], plan: Plan) -> None:
        route = route_of(entry)
        because = _unwanted(route.types, route.source, event, state) or _condition(route.condition, context)
        line: dict[str, Any] = {"route": entry.label, "matched": because is None, "because": because or "it fits"}
        plan.trace["routes"].append(line)
        if because is not None:
            return
        line["actions"] = []
        for number, action in enumerate(route.actions):
            because = _condition(action.condition, context)
            done: dict[str, Any] = {"kind": action.kind, "matched": because is None, "because": because or "it fits"}
            line["actions"].append(done)
            if because is None:
                row = await self._action(entry, number, event, state, context)
                plan.actions.append(row)
                done |= {"action_id": row.id, "place": row.place} | ({"error": row.error} if row.error else {})

    async def _action(
        self, entry: Entry, number: int, event: Event, state: EventState, context: dict[str, Any]
    ) -> ActionRow:
        action = route_of(entry).actions[number]
        try:
            rendered = await self.rendered(action, event, context)
        except BadExpression as error:
            again = {"again": {"route": entry.name, "number": number}}
            row = self._row(
                event, state, route=entry.label, kind=action.kind, rendered=Rendered("", again), spec=action
            )
            reason = redacted(f"route {entry.label}, action {number} ({action.kind}): {error} (event {event.id})")
            return _dead(row, reason)
        return self._row(event, state, route=entry.label, kind=action.kind, rendered=rendered, spec=action)

    async def again(self, route: str, number: int, event: Event, state: EventState) -> Rendered:
        """An action whose rendering failed, by today's rule. Raises BadExpression."""
        entry = self._registry.get(event.tenant, DefinitionKind.ROUTE, route)
        if entry is None or number >= len(route_of(entry).actions):
            raise BadExpression(f"route {route} has no action {number} any more")
        context = await self._context(event, state, Plan())
        return await self.rendered(route_of(entry).actions[number], event, context)

    async def rendered(self, action: Action, event: Event, context: dict[str, Any]) -> Rendered:
        """What an action will send. Raises BadExpression."""
        value: Any = context
        if action.mapping:
            value = await self.mapped(event.tenant, action.mapping, context)
        return await render(action, value, context, templates=self._evaluator.render, seal=self._seal)

    async def mapped(self, tenant: str, name: str, context: dict[str, Any]) -> Any:
        """What a mapping makes of an event. Raises BadExpression naming the mapping."""
        spec = self._registry.mapping(tenant, name)
        if spec is None:
            raise BadExpression(f"there is no mapping {name}")
        try:
            return await self.apply(spec, context)
        except BadExpression as error:
            raise BadExpression(f"mapping {self._label(tenant, name)}: {error}") from None

    async def apply(self, spec: MappingSpec, context: dict[str, Any]) -> Any:
        """What one version of a mapping makes of an event. Raises BadExpression."""
        if spec.jmespath:
            return search(spec.jmespath, context)
        text = (await self._evaluator.render({"jinja2": spec.jinja2}, context))["jinja2"]
        if not spec.json_:
            return text
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise BadExpression(f"the template's text is not JSON: {error}") from None

    def _label(self, tenant: str, name: str) -> str:
        entry = self._registry.get(tenant, DefinitionKind.MAPPING, name)
        return entry.label if entry else name

    def _row(
        self,
        event: Event,
        state: EventState,
        *,
        route: str,
        kind: str,
        rendered: Rendered,
        spec: Action | None = None,
    ) -> ActionRow:
        now = self._now_ms()
        return ActionRow(
            tenant=event.tenant,
            id=self._ids.new("act"),
            event_id=event.id,
            event_type=event.type,
            run=state.run,
            route=route,
            kind=kind,
            place=rendered.place,
            state=ActionState.PENDING,
            payload=orjson.dumps(rendered.payload),
            max_attempts=spec.attempts if spec else LISTENER_ATTEMPTS,
            backoff=round(spec.backoff * 1000) if spec else LISTENER_BACKOFF,
            due_at=now + round(spec.delay * 1000) if spec and spec.delay else 0,
            created_at=now,
        )


def failure_of(row: ActionRow, error: str) -> dict[str, Any]:
    """What an event tells of an action that was given up."""
    about = {"event_id": row.event_id, "event_type": row.event_type, "action_id": row.id}
    return {**about, "route": row.route, "kind": row.kind, "error": error}


def _dead(row: ActionRow, error: str) -> ActionRow:
    return replace(row, state=ActionState.DEAD, error=error[:1000], finished_at=row.created_at)


def _unwanted(types: Sequence[str], source: str | None, event: Event, state: EventState) -> str | None:
    if not wants(tuple(types), event.type):
        return f"its types ({', '.join(types)}) do not take {event.type}"
    if source is not None and source != state.source:
        return f"its source is {source}, the event's is {state.source or 'none'}"
    return None


def _condition(text: str, context: dict[str, Any]) -> str | None:
    """Why a condition does not hold; None: it does."""
    if not text:
        return None
    try:
        return None if holds(text, context) else f"its condition does not hold: {text}"
    except BadExpression as error:
        return redacted(f"its condition failed: {text}: {error}")


def shown(before: Any, after: Any) -> dict[str, Any]:
    """Input and output of a mapping for people; what is too long is only measured."""
    found: dict[str, Any] = {}
    for name, value in (("in", before), ("out", after)):
        try:
            text = orjson.dumps(value)
        except orjson.JSONEncodeError:
            text = repr(value).encode()
        found[name] = value if len(text) <= MAX_SHOWN else f"{len(text)} bytes"
    return found
