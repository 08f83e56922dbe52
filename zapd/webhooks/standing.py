"""How an endpoint stands with its failures: each in a row is counted in SQL, told at 50, 70 and 90 % of the budget, and
at 100 % the endpoint is disabled. What was on its way is canceled, not lost: `recover` brings it back.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from zapd.jobs.job import Job
from zapd.model.webhook import Endpoint, Severity
from zapd.store.commands import Change, Row
from zapd.store.endpoints import EndpointStore
from zapd.webhooks.fanout import Fanout

log = structlog.get_logger("zapd.webhooks")

DISABLED = "endpoint.disabled"
FAILING = "endpoint.failing"
STEPS = (50, 70, 90, 100)  #: percent of the budget at which somebody hears of it


class Commit(Protocol):
    """The outbox's door: changes and jobs in one transaction, None when the guard did not take effect."""

    async def __call__(self, guard: Change, *then: Change, jobs: Sequence[Job] = ()) -> Row | None: ...


class Announcement(Protocol):
    """What must be committed for an event to have happened."""

    @property
    def changes(self) -> Sequence[Change]: ...

    @property
    def jobs(self) -> Sequence[Job]: ...


class Announce(Protocol):
    """Makes an event and its own deliveries; writes nothing."""

    def __call__(
        self, event_type: str, *, tenant: str, at: int, data: Mapping[str, Any], severity: Severity
    ) -> Announcement: ...


class Standing:
    """`budget`: failures in a row after which an endpoint is disabled; 0: never."""

    def __init__(
        self,
        *,
        endpoints: EndpointStore,
        fanout: Fanout,
        commit: Commit,
        announce: Announce,
        budget: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._endpoints = endpoints
        self._fanout = fanout
        self._commit = commit
        self._announce = announce
        self._budget = budget
        self._now_ms = now_ms
        self._owing: set[str] = set()  # endpoints with failures in SQL that our memory of them does not show yet
        self._forgiven: dict[str, Endpoint] = {}  # the memory of an endpoint that still shows what SQL forgave

    async def took(self, endpoint: Endpoint, guard: Change, *then: Change) -> None:
        """An attempt was taken: commit what follows from it, and forgive the failures before it."""
        stale = endpoint.failures > 0 and self._forgiven.get(endpoint.id) is not endpoint
        if stale or endpoint.id in self._owing:  # once, and not for each success until our memory is fresh
            then = (*then, self._endpoints.works(endpoint.tenant, endpoint.id))
            self._owing.discard(endpoint.id)
            self._forgiven[endpoint.id] = endpoint
        await self._commit(guard, *then)

    async def failed(self, endpoint: Endpoint, *changes: Change) -> None:
        """An attempt failed: commit what follows from it, count it, and tell or disable when it is time."""
        now = self._now_ms()
        row = await self._commit(self._endpoints.failed(endpoint, now), *changes)
        if row is None:  # it was deleted or moved meanwhile
            await self._commit(*changes)
            return
        self._owing.add(endpoint.id)
        self._forgiven.pop(endpoint.id, None)
        failures, since, alerted = row[2:5]
        percent = failures * 100 // self._budget if self._budget else 0
        step = max((step for step in STEPS if step <= percent), default=0)
        if step >= STEPS[-1]:
            await self.disable(endpoint, f"{failures} attempts in a row failed", failures=failures)
        elif step > alerted:
            await self._tell(endpoint, step, failures, since)

    async def disable(self, endpoint: Endpoint, reason: str, *then: Change, failures: int | None = None) -> bool:
        """Switch it off, and tell. False: it was off already, or its URL was changed meanwhile.

        `failures` in a row are what it is for: then it tells what `endpoint.failing` told before, at 100 %.
        """
        spent = {} if failures is None else {"percent": STEPS[-1], "failures": failures, "failures_left": 0}
        told = self._announce(
            DISABLED,
            tenant=endpoint.tenant,
            at=self._now_ms(),
            data={"endpoint_id": endpoint.id, "reason": reason, **spent},
            severity=Severity.ERROR,
        )
        off = self._endpoints.disabled(endpoint, reason)
        if await self._commit(off, *then, *told.changes, jobs=told.jobs) is None:
            return False
        self._owing.discard(endpoint.id)
        await self._fanout.refresh()
        log.warning("endpoint.disabled", endpoint_id=endpoint.id, reason=reason)
        return True

    async def _tell(self, endpoint: Endpoint, step: int, failures: int, since: int) -> None:
        told = self._announce(
            FAILING,
            tenant=endpoint.tenant,
            at=self._now_ms(),
            data={
                "endpoint_id": endpoint.id,
                "percent": step,
                "failures": failures,
                "failures_left": self._budget - failures,
                "failing_for_seconds": (self._now_ms() - since) // 1000,
            },
            severity=Severity.WARNING,
        )
        guard = self._endpoints.told(endpoint.tenant, endpoint.id, step)
        if await self._commit(guard, *told.changes, jobs=told.jobs) is not None:
            log.warning("endpoint.failing", endpoint_id=endpoint.id, percent=step, failures=failures)
