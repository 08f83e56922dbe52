"""Who starts and stops whom. Services start in order, stop in reverse, and are restarted within a budget.

A service that ends or raises is restarted with backoff; past its budget it is marked failed, which `/health`,
`/status` and the exit code show. A silent half-alive daemon is the worst outage.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import structlog

from zapd.backoff import Backoff

log = structlog.get_logger("zapd.supervisor")


class Service(Protocol):
    """A long-running part. `stop` is safe before `start`, twice, and while `run` is starting."""

    name: str

    async def run(self) -> None:
        """Work until `stop`. Raising or returning early counts as a crash."""

    async def stop(self) -> None:
        """Make `run` return soon; returns when the part holds nothing any more."""


@runtime_checkable
class Keeper(Protocol):
    """A service that keeps a process of its own alive and says how that one is: it starts it anew without an end."""

    @property
    def child_up(self) -> bool:
        """Whether the process answers."""

    @property
    def child_restarts(self) -> int:
        """How often it died."""


@dataclass(frozen=True, kw_only=True)
class RestartBudget:
    """At most `restarts` within `window` seconds."""

    restarts: int = 10
    window: float = 60.0


@dataclass(kw_only=True)
class _Child:
    service: Service
    task: asyncio.Task[None] | None = None
    crashes: deque[float] = field(default_factory=deque)
    restarts: int = 0
    failed: str | None = None
    stopping: bool = False


class Supervisor:
    """Runs services. `on_failed(name, reason)` is called once when one is past its budget."""

    def __init__(
        self,
        *,
        services: Sequence[Service],
        random: Callable[[], float],
        on_failed: Callable[[str, str], None],
        budget: RestartBudget | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._children = [_Child(service=service) for service in services]
        self._random = random
        self._on_failed = on_failed
        self._budget = budget or RestartBudget()
        self._backoff = backoff or Backoff(base=0.1, factor=2.0, cap=10.0)

    async def start(self) -> None:
        """Start every service in order. Each has run its first step when the next one starts."""
        for child in self._children:
            name = child.service.name
            child.task = asyncio.create_task(self._keep_running(child), name=f"service:{name}")
            await asyncio.sleep(0)

    async def stop(self, *names: str) -> None:
        """Stop the named services, or all, last started first."""
        for child in reversed(self._children):
            if names and child.service.name not in names:
                continue
            child.stopping = True
            try:
                await child.service.stop()
            except Exception:  # the others hold things too, and must be stopped all the same
                log.exception("service.stop_failed", service=child.service.name)
            if child.task is not None:
                child.task.cancel()
                await asyncio.gather(child.task, return_exceptions=True)

    def status(self) -> dict[str, dict[str, object]]:
        """Per service: whether it is up, how often it was restarted, and why it failed."""
        return {child.service.name: self._status_of(child) for child in self._children}

    @staticmethod
    def _status_of(child: _Child) -> dict[str, object]:
        up = child.failed is None and child.task is not None and not child.task.done()
        restarts = child.restarts
        if isinstance(child.service, Keeper):
            up = up and child.service.child_up
            restarts += child.service.child_restarts
        return {"up": up, "restarts": restarts, "failed": child.failed}

    async def _keep_running(self, child: _Child) -> None:
        while not child.stopping:
            reason = await self._run_once(child)
            if child.stopping:
                return
            child.restarts += 1
            if self._over_budget(child):
                child.failed = reason
                log.error("service.failed", service=child.service.name, reason=reason)
                self._on_failed(child.service.name, reason)
                return
            log.warning("service.restarted", service=child.service.name, reason=reason, restarts=child.restarts)
            await asyncio.sleep(self._backoff.delay(len(child.crashes), random=self._random))

    @staticmethod
    async def _run_once(child: _Child) -> str:
        try:
            await child.service.run()
        except Exception as error:  # a loop that dies must be loud and start again, whatever killed it
            log.exception("service.crashed", service=child.service.name)
            return f"{type(error).__name__}: {error}"
        except asyncio.CancelledError:
            # Unless somebody stops it, something that it waited for was cancelled: it must start again all the same.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return "something it waited for was cancelled"
        return "ended by itself"

    def _over_budget(self, child: _Child) -> bool:
        now = time.monotonic()
        child.crashes.append(now)
        while child.crashes and child.crashes[0] < now - self._budget.window:
            child.crashes.popleft()
        return len(child.crashes) > self._budget.restarts
