"""A mapping's new version, tried on stored events before it is in force: what it gives, and what the old one gave."""

from collections.abc import Sequence
from typing import Any

from zapd.config.hub import MappingSpec
from zapd.events.envelope import context_of
from zapd.events.expressions import BadExpression
from zapd.events.planning import Planner
from zapd.store.event_states import EventStateStore
from zapd.store.events import EventStore

MAX_EVENTS = 500
MAX_CHANGES = 100  #: lines of one diff


class Backtest:
    """Tries mappings on stored events. Nothing is changed."""

    def __init__(self, *, planner: Planner, events: EventStore, states: EventStateStore) -> None:
        self._planner = planner
        self._events = events
        self._states = states

    async def run(
        self,
        tenant: str,
        new: MappingSpec,
        old: MappingSpec | None,
        *,
        types: Sequence[str],
        source: str | None,
        last: int,
    ) -> dict[str, Any]:
        """Over the last `last` events: how many come out the same, differ, fail; and each that is not the same."""
        states = await self._states.matching(
            tenant, types=types, source=source, limit=min(last, MAX_EVENTS), newest=True
        )
        counts = {"same": 0, "changed": 0, "failed": 0}
        lines = []
        for state in states:
            event = await self._events.get(tenant, state.event_id)
            if event is None or event.erased:
                continue
            context = context_of(event, state)
            after, error = await self._made(new, context)
            before, _ = await self._made(old, context) if old else (None, None)
            verdict = "failed" if error else "same" if after == before else "changed"
            counts[verdict] += 1
            if verdict != "same":
                line: dict[str, Any] = {"event_id": event.id, "type": event.type, "verdict": verdict}
                lines.append(line | ({"error": error} if error else {"diff": diff(before, after), "out": after}))
        return {"events": sum(counts.values()), **counts, "data": lines}

    async def _made(self, spec: MappingSpec, context: dict[str, Any]) -> tuple[Any, str | None]:
        try:
            return await self._planner.apply(spec, context), None
        except BadExpression as error:
            return None, str(error)


def diff(before: Any, after: Any, path: str = "") -> list[dict[str, Any]]:
    """What differs, by path: `{"path", "before", "after"}`; a side that is not there has no key."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[dict[str, Any]] = []
        for key in dict.fromkeys([*before, *after]):
            below = f"{path}.{key}" if path else str(key)
            if key not in after:
                found.append({"path": below, "before": before[key]})
            elif key not in before:
                found.append({"path": below, "after": after[key]})
            else:
                found += diff(before[key], after[key], below)
        return found[:MAX_CHANGES]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for i, (b, a) in pairs for line in diff(b, a, f"{path}.{i}" if path else str(i))][:MAX_CHANGES]
    return [] if before == after else [{"path": path or "@", "before": before, "after": after}]
