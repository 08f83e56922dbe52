"""Sync: page through a target and make an event for each item.

Each page is a job of its own; the place in the list and the job of the next page are one commit, so a `kill -9` at any
moment costs at most the reading of one page. An item is told once: its id is claimed in the commit of its event.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
import structlog

from zapd.announce import Announcer
from zapd.config.hub import SyncSpec
from zapd.errors import Conflict, NotFound
from zapd.events.envelope import QUEUE, SYNC, Envelopes
from zapd.events.expressions import BadExpression, search
from zapd.events.registry import Registry
from zapd.events.targets import CallFailed, Targets
from zapd.ids import Ids
from zapd.jobs.job import Discard, Done, Job, Outcome, Retry, Snooze
from zapd.model.hub import Inbound
from zapd.model.webhook import Category
from zapd.store.commands import Change, Row
from zapd.store.event_states import EventStateStore
from zapd.store.settings import SettingStore

log = structlog.get_logger("zapd.events")

MAX_ITEMS = 5_000  #: of one page


class Syncer:
    """Runs syncs. `start` begins one; the rest is jobs of kind `sync`."""

    def __init__(
        self,
        *,
        registry: Registry,
        targets: Targets,
        envelopes: Envelopes,
        states: EventStateStore,
        settings: SettingStore,
        announcer: Announcer,
        commit: Callable[..., Awaitable[Row | None]],
        ids: Ids,
        now_ms: Callable[[], int],
        priority: int,
    ) -> None:
        self._registry = registry
        self._targets = targets
        self._envelopes = envelopes
        self._states = states
        self._settings = settings
        self._announcer = announcer
        self._commit = commit
        self._ids = ids
        self._now_ms = now_ms
        self._priority = priority

    async def start(self, tenant: str, name: str) -> str:
        """Begin at the first page; returns the run. Raises NotFound, or Conflict while one is under way."""
        spec = self._registry.sync(tenant, name)
        if spec is None:
            raise NotFound(f"there is no sync {name}")
        before = await self.status(tenant, name)
        if before is not None and before["state"] == "running":
            raise Conflict(f"sync {name} is under way: run {before['run']}")
        run = self._ids.new("syn")
        first = None if spec.paging == "cursor" else spec.first  # the first page has no cursor yet
        at = {"run": run, "state": "running", "page": 0, "items": 0, "new": 0, "next": first, "error": None}
        at["started_at"] = at["updated_at"] = self._now_ms()
        await self._commit(self._kept(tenant, name, at), jobs=[self._job(tenant, name, run, 0)])
        return run

    async def status(self, tenant: str, name: str) -> dict[str, Any] | None:
        """Where the last run is; None: there was none."""
        kept = await self._settings.get(_setting(name), tenant=tenant)
        return orjson.loads(kept) if kept else None

    async def handle(self, job: Job) -> Outcome:
        """Handler of jobs of kind `sync`: one page. Without a run (from a schedule) it begins one."""
        payload = orjson.loads(job.payload)
        name = payload.get("sync", "")
        if "run" not in payload:
            return await self._started(job.tenant, name)
        at, spec = await self.status(job.tenant, name), self._registry.sync(job.tenant, name)
        if at is None or at["run"] != payload["run"] or at["page"] != payload["page"] or at["state"] != "running":
            return Done()  # this page was done already
        if spec is None:
            return Discard("refused", f"there is no sync {name} any more")
        try:
            found, cursor = await self._read(job.tenant, spec, at["next"])
            await self._keep(job.tenant, name, spec, at, found, cursor)
            return Done()
        except CallFailed as error:
            return _outcome(error)
        except BadExpression as error:
            return Discard("refused", f"sync {name}: {error}")

    async def _started(self, tenant: str, name: str) -> Outcome:
        try:
            await self.start(tenant, name)
        except (NotFound, Conflict) as error:
            log.warning("sync.not_started", sync=name, reason=str(error))
        return Done()

    async def dead(self, job: Job, reason: str, error: str) -> None:
        """A page could not be read: the run ends there, and an event tells who wants to know."""
        payload = orjson.loads(job.payload)
        name, at = payload.get("sync", ""), await self.status(job.tenant, payload.get("sync", ""))
        if at is None or at["run"] != payload.get("run") or at["state"] != "running":
            return
        at |= {"state": "failed", "error": f"{reason}: {error}"[:1000], "updated_at": self._now_ms()}
        told = self._announcer.announce(
            "sync.failed", tenant=job.tenant, at=self._now_ms(), data={"sync": name, **at}, category=Category.SYSTEM
        )
        await self._commit(self._kept(job.tenant, name, at), *told.changes, jobs=told.jobs)

    async def _read(self, tenant: str, spec: SyncSpec, place: Any) -> tuple[Sequence[Any], Any]:
        """One page: its items, and where the next one is (None: this was the last)."""
        path = spec.path
        if spec.paging != "none" and place is not None:
            path += ("&" if "?" in path else "?") + urlencode({spec.parameter: place})
        answer = await self._targets.call(tenant, spec.target, "GET", path, body=None, headers={})
        try:
            body = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            raise CallFailed(f"target {spec.target} gave no JSON") from None
        items = search(spec.items, body)
        if items is None:
            items = []
        if not isinstance(items, list) or len(items) > MAX_ITEMS:
            raise BadExpression(f"`items` should find a list of at most {MAX_ITEMS}")
        if not items or spec.paging == "none":
            return items, None
        if spec.paging == "cursor":
            return items, search(spec.cursor, body) or None
        return items, place + (1 if spec.paging == "page" else len(items))

    async def _keep(
        self, tenant: str, name: str, spec: SyncSpec, at: dict[str, Any], items: Sequence[Any], cursor: Any
    ) -> None:
        ends = cursor is None or at["page"] + 1 >= spec.max_pages
        new = 0
        for item in items:
            new += await self._told(tenant, name, spec, item)
        at |= {"page": at["page"] + 1, "items": at["items"] + len(items), "new": at["new"] + new, "next": cursor}
        at |= {"state": "done" if ends else "running", "updated_at": self._now_ms()}
        jobs = [] if ends else [self._job(tenant, name, at["run"], at["page"])]
        await self._commit(self._kept(tenant, name, at), jobs=jobs)

    async def _told(self, tenant: str, name: str, spec: SyncSpec, item: Any) -> bool:
        """Make the event of one item, unless its id was told before."""
        raw, source = orjson.dumps(item), f"sync:{name}"
        found = search(spec.id, item)
        if not isinstance(found, str | int):
            raise BadExpression("`id` finds nothing in an item")
        new = self._envelopes.made(
            tenant=tenant,
            type=spec.type,
            data=orjson.Fragment(raw),
            category=Category.INBOUND,
            at=self._now_ms(),
            source=source,
        )
        inbound = Inbound(
            tenant=tenant,
            event_id=new.event.id,
            source=source,
            dedup=hashlib.sha256(str(found).encode("utf-8", "replace")).hexdigest(),
            raw=raw,
            content_type="application/json",
            headers="{}",
            received_at=new.event.created_at,
        )
        job = self._envelopes.job(new.state)
        changes = self._envelopes.changes(new)
        return await self._commit(self._states.came_in(inbound), *changes, jobs=[job]) is not None

    def _kept(self, tenant: str, name: str, at: dict[str, Any]) -> Change:
        return self._settings.put(_setting(name), orjson.dumps(at), tenant=tenant)

    def _job(self, tenant: str, name: str, run: str, page: int) -> Job:
        return Job(
            id=self._ids.new("job"),
            queue=QUEUE,
            kind=SYNC,
            payload=orjson.dumps({"sync": name, "run": run, "page": page}),
            priority=self._priority,
            created_at=self._now_ms(),
            tenant=tenant,
        )


def _outcome(error: CallFailed) -> Outcome:
    if not error.counts:
        return Snooze(error.after or 1.0)
    return Discard("refused", str(error)) if error.final else Retry(str(error), error.after)


def _setting(name: str) -> str:
    return f"sync:{name}"
