"""Batches, and what happens by the clock."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from aiohttp import web

from zapd.jobs.job import Job
from zapd.model.batch import Batch, BatchKind, BatchState, Member, MemberState
from zapd.model.schedule import Schedule, Spec


class Batches(Protocol):
    """Makes batches and chains."""

    async def create(
        self, tenant: str, batch_id: str | None, kind: BatchKind, jobs: Sequence[Job], callback: bytes | None
    ) -> Batch: ...


class BatchRows(Protocol):
    """The stored batches."""

    async def get(self, tenant: str, batch_id: str) -> Batch | None: ...
    async def counts(self, tenant: str, batch_id: str) -> Mapping[MemberState, int]: ...
    async def listed(
        self, tenant: str, *, state: BatchState | None, after: str | None, limit: int
    ) -> Sequence[Batch]: ...
    async def members(self, tenant: str, batch_id: str, *, after: int, limit: int) -> Sequence[Member]: ...


class Cron(Protocol):
    """What happens by the clock."""

    async def create(self, tenant: str, schedule_id: str | None, spec: Spec, *, paused: bool) -> Schedule: ...
    async def update(self, schedule: Schedule, spec: Spec) -> Schedule: ...
    async def pause(self, schedule: Schedule, *, paused: bool) -> Schedule: ...
    async def delete(self, schedule: Schedule) -> None: ...
    async def fire_now(self, schedule: Schedule) -> str: ...


class ScheduleRows(Protocol):
    """The stored schedules."""

    async def get(self, tenant: str, schedule_id: str) -> Schedule | None: ...
    async def listed(self, tenant: str, *, after: str | None, limit: int) -> Sequence[Schedule]: ...


BATCHES = web.AppKey("batches", Batches)
BATCH_ROWS = web.AppKey("batch_rows", BatchRows)
CRON = web.AppKey("cron", Cron)
SCHEDULES = web.AppKey("schedules", ScheduleRows)
