"""Runs a job in a Python callable of the operator's: `action = "listener"`, `listener = "package.module:name"`.

The callable takes a `ListenerJob`. It may be a coroutine function, or a plain function, which runs in a thread. What
it returns: nothing (done), an `Outcome` (`zapd.jobs.job`: Done, Retry, Snooze, Discard), or anything that is JSON,
which the next step of a chain gets. What it raises is a failed try; `[queues."…"] retry` may tell its class apart.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import orjson

from zapd.actions.envelope import Opened
from zapd.errors import ConfigError
from zapd.jobs.job import Discard, Done, Job, Outcome, Retry, Snooze
from zapd.jobs.notes import Notes
from zapd.model.access import within_tenant

Listener = Callable[["ListenerJob"], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ListenerJob:
    """A job as a listener sees it. `payload` and `previous` are decoded JSON; `created_at` is ms since 1970 UTC."""

    key: str  #: its name among all tenants
    id: str
    queue: str
    kind: str
    lane: str
    tenant: str
    attempt: int
    created_at: int
    payload: Any
    previous: Any
    notes: Notes

    def progress(self, percent: float) -> None:
        """How far it is, 0 to 100; `GET /jobs/{id}` shows it."""
        self.notes.progress(self.queue, self.key, percent)

    def log(self, line: str) -> None:
        """A line of the job's own log; its last 100 are kept."""
        self.notes.log(self.queue, self.key, line)


@dataclass(frozen=True, slots=True)
class Result:
    """It worked, and this JSON is what it gave."""

    value: bytes | None = None


def find(name: str, *, key: str) -> Listener:
    """The callable `package.module:name`. Raises ConfigError naming the key."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
        if inspect.isclass(found):
            found = found()
    except Exception as error:  # whatever the operator's code does when it is imported
        raise ConfigError(f'{key} = "{name}": cannot be imported: {type(error).__name__}: {error}') from error
    if not callable(found):
        raise ConfigError(f'{key} = "{name}": should be something that can be called with a job')
    callable_found: Listener = found
    return callable_found


class ListenerAction:
    """Calls the listener for each job."""

    def __init__(self, *, listener: Listener, notes: Notes) -> None:
        self._listener = listener
        self._notes = notes
        self._is_async = inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(
            getattr(listener, "__call__", None)  # noqa: B004 - the method itself is looked at
        )

    async def run(self, job: Job, opened: Opened) -> Outcome | Result:
        """One try."""
        seen = ListenerJob(
            key=job.id,
            id=within_tenant(job.tenant, job.id),
            queue=job.queue,
            kind=job.kind,
            lane=within_tenant(job.tenant, job.lane),
            tenant=job.tenant,
            attempt=job.attempt,
            created_at=job.created_at,
            payload=orjson.loads(opened.payload),
            previous=None if opened.previous is None else orjson.loads(opened.previous),
            notes=self._notes,
        )
        said = await self._call(seen)
        if said is None or isinstance(said, Done):
            return Result()
        if isinstance(said, Retry | Snooze | Discard):
            return said
        return Result(orjson.dumps(said))  # what is no JSON raises: a failed try that says so

    async def _call(self, seen: ListenerJob) -> Any:
        if self._is_async:
            return await self._listener(seen)
        said = await asyncio.to_thread(self._listener, seen)
        return await said if isinstance(said, Awaitable) else said
