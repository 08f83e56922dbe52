"""What a running job tells of itself: how far it is, and lines of its own log; and why its last try failed.

Notes are collected and sent together twice a second. They are for people: while Redis is away they are dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from zapd.errors import Unavailable
from zapd.jobs.scripts import Scripts

log = structlog.get_logger("zapd.jobs")

MAX_LINES = 100  #: of one job
MAX_LINE = 1000  #: characters
MAX_JOBS = 5_000  #: whose notes wait to be sent; more are dropped
SEND_EVERY = 0.5  #: seconds
_KEPT_MS = 3_600_000  # after the last note
_BATCH = 100  # jobs per call


@dataclass(slots=True)
class _Waiting:
    """What was told and not sent yet."""

    progress: float | None = None
    error: str = ""
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_LINES))


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """What a job told. `lines` are (ms, text), the oldest first; `progress_at` (ms) is 0 when it told none."""

    progress: float | None = None
    progress_at: int = 0
    error: str = ""
    lines: tuple[tuple[int, str], ...] = ()


class Notes:
    """A Service. `progress` and `log` may be called from any thread."""

    name = "notes"

    def __init__(self, *, scripts: Scripts, now_ms: Callable[[], int]) -> None:
        self._call = scripts.call
        self._now_ms = now_ms
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        self._stopping = asyncio.Event()

    def progress(self, queue: str, job_id: str, percent: float) -> None:
        """How far the job is, 0 to 100. Raises ValueError."""
        if not 0 <= percent <= 100:
            raise ValueError("progress should be 0 to 100")
        if waiting := self._of(queue, job_id):
            waiting.progress = float(percent)

    def log(self, queue: str, job_id: str, line: str) -> None:
        """A line of the job's log. Its last 100 are kept, each of up to 1,000 characters."""
        if waiting := self._of(queue, job_id):
            waiting.lines.append(f"{self._now_ms()}|{' '.join(str(line).splitlines())[:MAX_LINE]}")

    def failed(self, queue: str, job_id: str, attempt: int, error: str) -> None:
        """A try failed, and there will be another."""
        if waiting := self._of(queue, job_id):
            waiting.error = " ".join(error.split())[:MAX_LINE]
            waiting.lines.append(f"{self._now_ms()}|try {attempt} failed: {waiting.error}")

    async def run(self) -> None:
        """Send until `stop`."""
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(SEND_EVERY):
                    await self._stopping.wait()
            except TimeoutError:
                await self.send()

    async def stop(self) -> None:
        """Send what is left."""
        self._stopping.set()
        await self.send()

    async def send(self) -> None:
        """Send what was told since the last time."""
        waiting, self._waiting = self._waiting, {}
        by_queue: dict[str, list[tuple[str, _Waiting]]] = {}
        for (queue, job_id), told in waiting.items():
            by_queue.setdefault(queue, []).append((job_id, told))
        try:
            for queue, jobs in by_queue.items():
                for start in range(0, len(jobs), _BATCH):
                    await self._call("note", queue, _KEPT_MS, MAX_LINES, *_flat(jobs[start : start + _BATCH]))
        except Unavailable as error:
            log.warning("jobs.notes_dropped", jobs=len(waiting), error=str(error)[:200])

    async def of(self, queue: str, job_id: str) -> Noted:
        """What the job told, also for an hour after its end. Raises Unavailable."""
        progress, at, error, lines = await self._call("noted", queue, job_id)
        found = [line.decode(errors="replace").partition("|") for line in lines]
        return Noted(
            progress=float(progress) if progress else None,
            progress_at=int(at or 0),
            error=error.decode(errors="replace"),
            lines=tuple((int(ms), text) for ms, _, text in found),
        )

    def _of(self, queue: str, job_id: str) -> _Waiting | None:
        key = (queue, job_id)
        if key not in self._waiting and len(self._waiting) >= MAX_JOBS:
            return None
        return self._waiting.setdefault(key, _Waiting())


def _flat(jobs: list[tuple[str, _Waiting]]) -> list[str | int]:
    args: list[str | int] = []
    for job_id, told in jobs:
        lines = list(told.lines)
        progress = "" if told.progress is None else f"{told.progress:g}"
        args += [job_id, progress, told.error, len(lines), *lines]
    return args
