"""Personal data (LGPD, GDPR): hand out and erase what is kept of a person, erase a tenant, seal bodies under new keys.

What takes long runs as a job of maintenance:cleanup, a slice at a time; where it stands is in the database, so that a
restart goes on with it.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import orjson
import structlog

from zapd.announce import iso
from zapd.errors import Conflict
from zapd.jobs.job import Done, Job, Outcome, Snooze
from zapd.model.access import DEFAULT_TENANT
from zapd.model.message import Message
from zapd.store.bodies import TABLES, BodyStore, Mention
from zapd.store.commands import Change
from zapd.store.sealing import Sealing
from zapd.store.settings import SettingStore
from zapd.store.subjects import SubjectStore

log = structlog.get_logger("zapd.privacy")

QUEUE = "maintenance:cleanup"
ROTATE, ERASE_TENANT = "rotate-data", "erase-tenant"  #: kinds of jobs
SLICES = 25  #: of a walk in one run of a job; then others have their turn
MAX_EXPORTED = 100_000  #: messages in one export, and as many events and other rows
EVENTS = "events"


class Privacy:
    """`enqueue` commits jobs; `close_connections(tenant)` ends a tenant's sessions."""

    def __init__(
        self,
        *,
        bodies: BodyStore,
        subjects: SubjectStore,
        sealing: Sealing,
        settings: SettingStore,
        commit: Callable[..., Awaitable[object]],
        enqueue: Callable[[Sequence[Job]], Awaitable[Sequence[bool]]],
        close_connections: Callable[[str], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> None:
        self._bodies = bodies
        self._subjects = subjects
        self._sealing = sealing
        self._settings = settings
        self._commit = commit
        self._enqueue = enqueue
        self._close_connections = close_connections
        self._now_ms = now_ms

    # --- one person ---

    async def export(self, tenant: str, peers: Sequence[str]) -> dict[str, Any]:
        """Everything kept of a person: conversations, events that name them, and other rows whose bodies do.

        Raises Conflict when it is too much for one answer.
        """
        found: list[dict[str, Any]] = []
        async for some in self._subjects.messages_of(tenant, peers):
            found += [await self._exported(message) for message in some]
            if len(found) > MAX_EXPORTED:
                raise Conflict(f"more than {MAX_EXPORTED} messages: ask for the history of the connection instead")
        told: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        ids = {message["id"] for message in found}
        async for table, mentions in self._subjects.mentions_of(tenant, peers):
            if table == EVENTS:
                told += [e for mention in mentions if (e := await self._exported_event(mention, ids)) is not None]
            else:
                others += [{"table": table, "bodies": list(map(_readable, mention.bodies))} for mention in mentions]
            if len(told) + len(others) > MAX_EXPORTED:
                raise Conflict(f"more than {MAX_EXPORTED} events and other rows name them")
        return {
            "peers": list(peers),
            "made_at": iso(self._now_ms()),
            "messages": found,
            "events": told,
            "mentions": others,
        }

    async def _exported_event(self, mention: Mention, messages: Collection[str]) -> dict[str, Any] | None:
        """None: it stands with its message already, or is gone."""
        event = await self._subjects.event_at(mention.key[0])
        if event is None or event.message_id in messages:
            return None
        return {
            "id": event.id,
            "type": event.type,
            "created_at": iso(event.created_at),
            "payload": _readable(event.payload),
        }

    async def _exported(self, message: Message) -> dict[str, Any]:
        events = await self._subjects.events_of(message.tenant, message.id)
        return {
            "id": message.id,
            "connection_id": message.connection_id,
            "direction": message.direction,
            "status": message.status,
            "type": message.type,
            "payload": orjson.Fragment(message.payload),
            "created_at": iso(message.created_at),
            "events": [{"type": event.type, "at": iso(event.created_at)} for event in events],
        }

    async def erase(self, tenant: str, peers: Sequence[str]) -> dict[str, int]:
        """Delete everything kept of a person's conversations, and every body that names them. Rows per table."""
        removed: Counter[str] = Counter()
        async for some in self._subjects.messages_of(tenant, peers):
            if some:
                removed.update(await self._subjects.erase_messages(tenant, [message.id for message in some]))
        removed.update(await self._subjects.erase_mentions(tenant, peers))
        log.info("person.erased", rows=sum(removed.values()))
        return {str(table): rows for table, rows in removed.items()}  # SQLAlchemy's names are strings of its own kind

    # --- a tenant ---

    async def erase_tenant(self, tenant: str) -> str:
        """Make a tenant's bodies unreadable now, and delete all its rows by a job, whose id is returned."""
        if tenant == DEFAULT_TENANT:
            raise Conflict("the operator's tenant cannot be erased: delete the state directory instead")
        await self._close_connections(tenant)
        await self._sealing.forget(tenant, self._sealing.ids_of(tenant), self._commit)
        return await self._start(ERASE_TENANT, {"tenant": tenant}, unique=tenant)

    async def _erase_rows(self, job: Job) -> Outcome:
        tenant = str(orjson.loads(job.payload)["tenant"])
        for _ in range(SLICES):
            if not await self._subjects.erase_tenant_slice(tenant):
                await self._sealing.forget(tenant, self._sealing.ids_of(tenant), self._commit)
                log.info("tenant.erased")
                return Done()
        return Snooze(0.05)

    # --- new keys ---

    async def rotate(self) -> str:
        """Seal what comes under new keys from now on, and all that is there by a job, whose id is returned."""
        standing = await self.rotation()
        if standing["state"] != "running":
            for tenant in self._sealing.tenants():
                await self._sealing.renew(tenant, self._commit)
            await self._note({"state": "running", "table": next(iter(TABLES)), "after": None, "rows": 0})
        return await self._start(ROTATE, {}, unique="all")

    async def rotation(self) -> Mapping[str, Any]:
        """How far it is: `state` never, running or done; `table` and `rows` that were sealed anew."""
        noted = await self._settings.get(ROTATE)
        return orjson.loads(noted) if noted else {"state": "never", "table": None, "after": None, "rows": 0}

    async def _reseal(self) -> Outcome:
        standing = dict(await self.rotation())
        for _ in range(SLICES):
            if standing["state"] != "running":
                break
            after = None if standing["after"] is None else tuple(standing["after"])
            walked = await self._bodies.resealed(standing["table"], after)
            standing["rows"] += walked.changed
            standing["after"] = walked.after
            if walked.after is None:
                await self._next_table(standing)
        await self._note(standing)
        return Done() if standing["state"] == "done" else Snooze(0.05)

    async def _next_table(self, standing: dict[str, Any]) -> None:
        names = list(TABLES)
        following = names.index(standing["table"]) + 1
        if following < len(names):
            standing["table"] = names[following]
            return
        standing |= {"state": "done", "table": None}
        for tenant in self._sealing.tenants():  # nothing is sealed under the old ones any more
            newest = self._sealing.newest(tenant)
            old = [key_id for key_id in self._sealing.ids_of(tenant) if key_id != newest]
            await self._sealing.forget(tenant, old, self._commit)

    # --- jobs ---

    async def work(self, job: Job) -> Outcome:
        """The handler of this module's jobs. Safe to run again."""
        return await self._erase_rows(job) if job.kind == ERASE_TENANT else await self._reseal()

    async def _start(self, kind: str, payload: Mapping[str, str], *, unique: str) -> str:
        # One at a time: the id of a live job is not taken a second time.
        job = Job(
            id=f"{kind}-{unique}",
            queue=QUEUE,
            kind=kind,
            payload=orjson.dumps(payload),
            priority=1,
            created_at=self._now_ms(),
        )
        await self._enqueue([job])
        return job.id

    async def _note(self, standing: Mapping[str, Any]) -> None:
        put: Change = self._settings.put(ROTATE, orjson.dumps(standing))
        await self._commit(put)


def _readable(body: bytes | None) -> Any:
    """A body as JSON if it is some, else as text."""
    if body is None:
        return None
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")
    return orjson.Fragment(body)
