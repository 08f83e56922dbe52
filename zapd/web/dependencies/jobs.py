"""Jobs, and the queues that they are in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from aiohttp import web

from zapd.config.sections import JobsConfig
from zapd.enqueue import Taken, Wanted
from zapd.jobs.broker import Pauses
from zapd.jobs.inspect import JobPage, JobView, LanePage, QueueStats, Stranger
from zapd.jobs.notes import Noted
from zapd.jobs.rates import QueuePace
from zapd.jobs.settings import QueueSettings as EngineSettings
from zapd.store.outbox import OutboxRow


class JobState(StrEnum):
    """Where a job is, as the API names it."""

    WAITING = "waiting"
    ACTIVE = "active"
    DELAYED = "delayed"
    STAGED = "staged"  #: waits for its turn in its lane
    COMPLETED = "completed"
    DEAD = "dead"


class Jobs(Protocol):
    """The queues in Redis."""

    async def stats(self, queue: str) -> QueueStats: ...
    async def job(self, queue: str, job_id: str) -> JobView | None: ...
    async def list_jobs(self, queue: str, state: str, after: str | None, limit: int) -> JobPage: ...
    async def lanes(self, queue: str, after: str | None, limit: int) -> LanePage: ...
    async def quarantine(self, queue: str, limit: int) -> list[Stranger]: ...
    async def clean(self, queue: str) -> tuple[int, int]:
        """Drops what is past its retention: how many completed and dead jobs."""


class Enqueuer(Protocol):
    """The way into and out of own queues."""

    async def add(self, wanted: Sequence[Wanted]) -> Sequence[Taken]: ...
    async def take_back(self, tenant: str, job_id: str) -> OutboxRow | None: ...


class LiveJobs(Protocol):
    """The jobs that have not ended, as SQL knows them."""

    async def get(self, tenant: str, job_id: str) -> OutboxRow | None: ...


class JobNotes(Protocol):
    """What jobs tell of themselves."""

    async def of(self, queue: str, job_id: str) -> Noted: ...


@dataclass(frozen=True)
class JobLimits:
    """Bytes: one payload, and a whole body with jobs."""

    payload: int
    body: int


class Controls(Protocol):
    """What operators change while zapd runs."""

    of_all: JobsConfig
    changed_of_all: Mapping[str, Any]

    def changed(self, queue: str) -> Mapping[str, Any]: ...
    def pauses(self) -> Mapping[str, Pauses]: ...
    async def change(self, queue: str, changes: Mapping[str, Any]) -> None: ...
    async def change_all(self, changes: Mapping[str, Any]) -> None: ...
    async def pause(
        self, queue: str, *, kind: str | None = None, lane: str | None = None, paused: bool = True
    ) -> None: ...
    async def pause_all(self, *, paused: bool = True) -> None: ...


class QueueSettings(Protocol):
    """What the API shows of a queue's configuration. `action`: empty for zapd's own queues."""

    @property
    def priority(self) -> int: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def max_concurrency(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def action(self) -> str: ...
    @property
    def kinds(self) -> Sequence[str]: ...
    @property
    def unique_policy(self) -> str: ...
    @property
    def unique_for(self) -> float | None: ...


JOBS = web.AppKey("jobs", Jobs)
JOB_LIMITS = web.AppKey("job_limits", JobLimits)
ENQUEUER = web.AppKey("enqueuer", Enqueuer)
OUTBOX = web.AppKey("outbox", LiveJobs)
NOTES = web.AppKey("notes", JobNotes)
CONTROLS = web.AppKey("controls", Controls)
QUEUES: web.AppKey[Mapping[str, QueueSettings]] = web.AppKey("queues")
#: (queue, job id) → for how many seconds the job runs on this daemon; None: it does not.
STARTED: web.AppKey[Callable[[str, str], float | None]] = web.AppKey("started")
#: (tenant, queue, job id, priority) → False: it runs; None: there is none. Changes the outbox row too.
REPRIORITIZE: web.AppKey[Callable[[str, str, str, int], Awaitable[bool | None]]] = web.AppKey("reprioritize")
#: (queue, its numbers) → how fast jobs come and go.
QUEUE_PACE: web.AppKey[Callable[[str, QueueStats], QueuePace]] = web.AppKey("queue_pace")
#: queue → the settings that the engine goes by now.
ENGINE_SETTINGS: web.AppKey[Mapping[str, EngineSettings]] = web.AppKey("engine_settings")
