"""Inbound webhooks: verify on the raw bytes → dedup → persist, then 202. What is refused goes to the quarantine.

The key that drops a repeat is claimed in the transaction that keeps the event. A sender whose call we could not keep
finds its key free when it tries again.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from zapd import failpoint
from zapd.announce import PUBLIC
from zapd.config.hub import SourceSpec
from zapd.errors import NotFound, TooManyRequests
from zapd.events.call import Call, Rejected, redacted
from zapd.events.envelope import Envelopes
from zapd.events.evaluator import Evaluator
from zapd.events.expressions import BadExpression, event_type, search
from zapd.events.metrics import HubMetrics
from zapd.events.registry import Entry, Registry, source_of
from zapd.events.verify import PRESETS, UNSIGNED, verify
from zapd.model.hub import Inbound
from zapd.model.webhook import Category
from zapd.store.commands import Row
from zapd.store.event_states import EventStateStore

MAX_DEDUP = 300  #: characters of a source's own id; a longer one is hashed
MAX_PACES = 10_000

Commit = Callable[..., Awaitable[Row | None]]
Take = Callable[[str], float]  #: `Pace.take`


@dataclass(frozen=True, slots=True)
class Taken:
    """The webhook is kept as this event. `repeated`: it came before."""

    event_id: str
    repeated: bool = False


class Ingest:
    """Takes inbound webhooks in. `new_pace(per_minute)` makes a pace; `refused` keeps a call that was refused."""

    def __init__(
        self,
        *,
        registry: Registry,
        envelopes: Envelopes,
        states: EventStateStore,
        evaluator: Evaluator,
        commit: Commit,
        refused: Callable[[str, str, Call, Rejected], Awaitable[None]],
        new_pace: Callable[[float], Take],
        now_ms: Callable[[], int],
        metrics: HubMetrics,
    ) -> None:
        self._registry = registry
        self._envelopes = envelopes
        self._states = states
        self._evaluator = evaluator
        self._commit = commit
        self._refused = refused
        self._new_pace = new_pace
        self._now_ms = now_ms
        self._metrics = metrics
        self._paces: dict[tuple[str, float], Take] = {}

    def admit(self, name: str, remote: str) -> int:
        """Before the body is read: how long it may be. Raises NotFound, TooManyRequests."""
        found = [entry for entry in self._registry.sources(name) if source_of(entry).enabled]
        if not found:
            raise NotFound(f"there is no source {name[:64]}")
        for entry in found:
            spec = source_of(entry)
            for pace, caller in ((spec.ip_rate, f"{name}/{remote}"), (spec.rate, name)):
                if pace and (wait := self._pace(entry, pace)(caller)):
                    raise TooManyRequests("this source sends more than its rate", retry_after=wait)
        return max(source_of(entry).body_limit for entry in found)

    def handshake(self, name: str, query: dict[str, str]) -> str | None:
        """Meta asks whether this URL is ours: the challenge, or None when the token is not the source's."""
        for entry in self._registry.sources(name):
            spec = source_of(entry)
            given, wanted = query.get("hub.verify_token", ""), spec.verify_token
            fits = bool(wanted) and hmac.compare_digest(_digest(given), _digest(wanted))
            if spec.verify == "meta" and query.get("hub.mode") == "subscribe" and fits:
                return query.get("hub.challenge", "")
        return None

    async def take(self, name: str, call: Call) -> Taken:
        """Verify a call and keep it. When this returns it is committed. Raises Rejected, NotFound, Unavailable."""
        entries = [entry for entry in self._registry.sources(name) if source_of(entry).enabled]
        if not entries:
            raise NotFound(f"there is no source {name[:64]}")
        sender = entries[0] if len(entries) == 1 else None  # else only its secret can tell whose a call is
        try:
            sender = self._sender(entries, call)
            return await self.keep(sender, call)
        except Rejected as error:
            self._metrics.rejected[error.check].inc()
            if sender is not None:
                await self._refused(sender.definition.tenant, name, call, error)
            raise

    def _sender(self, entries: list[Entry], call: Call) -> Entry:
        """The source that the call comes from. Raises Rejected with what the last one said."""
        failed = Rejected("signature", "the signature does not fit")
        for entry in entries:
            try:
                verify(source_of(entry), call, self._now_ms() // 1000)
                return entry
            except Rejected as error:
                failed = error
        raise failed

    def verified(self, entry: Entry, call: Call, at: int) -> None:
        """Whether a call fits, as of a time (ms): a refused one is checked again at the time when it came."""
        verify(source_of(entry), call, at // 1000)

    async def keep(self, entry: Entry, call: Call) -> Taken:
        """Keep a call that is verified. Raises Rejected when its body breaks the source's rules."""
        spec, tenant, now = source_of(entry), entry.definition.tenant, self._now_ms()
        seen = call.seen
        await self._check_schema(spec, seen["body"])
        new = self._envelopes.made(
            tenant=tenant,
            type=_type_of(entry.name, spec, seen),
            data=seen["body"],
            category=Category.INBOUND,
            at=now,
            source=entry.name,
        )
        inbound = Inbound(
            tenant=tenant,
            event_id=new.event.id,
            source=entry.name,
            dedup=_dedup_of(spec, call, seen) or new.event.id,
            raw=call.raw,
            content_type=call.content_type or "application/json",
            headers=redacted(call.headers, spec.proof_header),
            received_at=now,
        )
        job = self._envelopes.job(new.state)
        kept = await self._commit(self._states.came_in(inbound), *self._envelopes.changes(new), jobs=[job])
        failpoint.reached("hook.kept")
        if kept is None:
            first = await self._states.first(tenant, entry.name, inbound.dedup)
            self._metrics.accepted["duplicate"].inc()
            return Taken(first.event_id if first else new.event.id, repeated=True)
        self._metrics.accepted["inbound"].inc()
        return Taken(new.event.id)

    async def _check_schema(self, spec: SourceSpec, body: Any) -> None:
        if spec.schema_ is None:
            return
        try:
            problems = await self._evaluator.validate(spec.schema_, body)
        except BadExpression as error:
            raise Rejected("schema", f"the schema could not be applied: {error}", hint="the schema failed") from None
        if problems:
            raise Rejected("schema", "; ".join(problems))

    def _pace(self, entry: Entry, per_minute: float) -> Take:
        key = (f"{entry.definition.tenant}/{entry.name}", per_minute)
        if key not in self._paces:
            if len(self._paces) >= MAX_PACES:
                self._paces.clear()
            self._paces[key] = self._new_pace(per_minute)
        return self._paces[key]


def _type_of(name: str, spec: SourceSpec, seen: dict[str, Any]) -> str:
    """The type of the event. A preset's own expression may find nothing; one that the operator gave must."""
    fallback = f"{name.replace('-', '_')}.received"
    try:
        found = event_type(spec.type or PRESETS[spec.verify].type or fallback, seen)
    except BadExpression as error:
        if spec.type:
            raise Rejected("type", f"`type` {error}", hint="the body gives no type of event") from None
        found = fallback
    if found in PUBLIC:
        raise Rejected("type", f"{found} is one of zapd's own types", hint="the type of event is reserved")
    return found


def _dedup_of(spec: SourceSpec, call: Call, seen: dict[str, Any]) -> str:
    """The key that drops a repeat; empty: every call is an event of its own."""
    if spec.dedup == "none":
        return ""
    where = spec.dedup or PRESETS[spec.verify].dedup
    found = _found(where, call, seen) if where else ""
    if found:
        return found if len(found) <= MAX_DEDUP else _digest(found)
    if spec.dedup:
        raise Rejected("dedup", f"`dedup` found nothing at {spec.dedup}", hint="the call has no id of its own")
    if spec.verify in UNSIGNED:
        return ""
    stamp = call.header(spec.timestamp_header) if spec.timestamp_header else ""
    return "body:" + hashlib.sha256(stamp.encode("utf-8", "replace") + b"." + call.raw).hexdigest()


def _found(where: str, call: Call, seen: dict[str, Any]) -> str:
    kind, _, name = where.partition(":")
    if kind == "header":
        return call.header(name)
    try:
        found = search(where, seen)
    except BadExpression as error:
        raise Rejected("dedup", f"`dedup` {error}", hint="the call has no id of its own") from None
    if isinstance(found, str | int) and not isinstance(found, bool):
        return str(found)
    return orjson.dumps(found).decode() if found else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
