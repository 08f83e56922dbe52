"""All that is done to the queues in Redis. One script per move, so that each is atomic.

What a lost answer means: `enqueue`, `finish`, `heartbeat`, `reclaim` and the lane moves can be repeated as they are;
after a lost `claim` call `recover`, which also voids the claim should it still be under way.

One long file, because it is one short method for each script, and all share the settings and pauses that this daemon
gave Redis. What only looks is in `inspect.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import count, groupby
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import structlog

from zapd.errors import NotFound, Unavailable
from zapd.jobs.blob import decode, encode
from zapd.jobs.claim import Claim, Claimed, Ending, Finished
from zapd.jobs.inspect import Inspector, JobPage, JobView, LanePage, QueueStats, Stranger
from zapd.jobs.job import Job
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.scripts import Scripts
from zapd.jobs.settings import QueueSettings, SharedLimits
from zapd.jobs.shared import Shared

log = structlog.get_logger("zapd.jobs")

T = TypeVar("T")

HEARTBEAT_TTL = 15.0  #: seconds after its last heartbeat in which a daemon counts as alive
AGED_AFTER = 5.0  #: seconds that a level's first job waits until the level gets one in eight slots, whatever else waits
_BATCH = 500  # jobs per script call; a script blocks every client, and Lua's unpack has a limit of some thousands
_COMPLETED_FOR = 3600.0
_DEAD_FOR = 7 * 86_400.0
_MOST_DEAD = 100_000


class Pauses(NamedTuple):
    """What is paused of a queue."""

    paused: bool = False
    kinds: frozenset[str] = frozenset()
    lanes: frozenset[str] = frozenset()

    @property
    def any(self) -> bool:
        return self.paused or bool(self.kinds or self.lanes)


class Lost(Unavailable):
    """Redis does not hold what was added before: add it again from SQL, in order."""


class Broker:
    """The queues. Raises Unavailable when Redis is away and NotFound for a queue that is not configured."""

    def __init__(
        self,
        *,
        scripts: Scripts,
        heartbeats: Scripts,
        queues: Sequence[QueueSettings],
        node: str,
        boot: str,
        metrics: JobMetrics,
        heartbeat_ttl: float = HEARTBEAT_TTL,
        completed_for: float = _COMPLETED_FOR,
        dead_for: float = _DEAD_FOR,
        aged_after: float = AGED_AFTER,
        on_ready: Callable[[str], None] = lambda _queue: None,
    ) -> None:
        """`on_ready` hears of each queue in which an enqueue left something new to claim."""
        self.node = node  #: the same for every start on one state directory, which one daemon holds at a time
        self.consumer = f"{node}:{boot}"
        self.queues = tuple(queue.name for queue in queues)
        self._call = scripts.call
        self._beat = heartbeats.call  # on a client of its own: a heartbeat must not queue behind work
        self._metrics = metrics.queues
        self._ttl_ms = round(heartbeat_ttl * 1000)
        self._kept_ms = round(completed_for * 1000), round(dead_for * 1000)
        self._aged_ms = round(aged_after * 1000)
        self._limits = {queue.name: _limits(queue) for queue in queues}
        self._shared = Shared(queues, lease_ms=self._ttl_ms)
        self._claims = count(1)
        self._paused: set[str] = set()  # as last seen; upkeep looks every few seconds
        self._lost = False
        self._on_ready = on_ready
        self._inspector = Inspector(call=scripts.call)

    async def enqueue(self, jobs: Sequence[Job], *, after_others: bool = False) -> list[bool]:
        """Add jobs of any queues. False: a job with that id is waiting, delayed or active already.

        `after_others`: raises Lost, and adds nothing, when a queue lost what was added since `refill` (FLUSHALL, a
        restart without its file): these must not leave ahead of those.
        """
        added: dict[tuple[str, str], bool] = {}
        for queue, group in groupby(sorted(jobs, key=attrgetter("queue")), key=attrgetter("queue")):
            self._known(queue)
            for batch in _batches(list(group)):
                args = [part for job in batch for part in (job.id, encode(job), job.priority, job.lane, job.due_at)]
                digits: bytes | None = await self._call("enqueue", queue, int(after_others), *args)
                if digits is None:
                    raise Lost(f"Redis lost the jobs of {queue}")
                for job, digit in zip(batch, digits, strict=True):
                    added.setdefault((queue, job.id), digit != ord("0"))
                self._metrics[queue].enqueued += len(digits) - digits.count(b"0")
                if b"1" in digits:
                    self._on_ready(queue)
        return [added.pop((job.queue, job.id), False) for job in jobs]

    async def refill(self) -> bool:
        """All jobs that must exist are added again from now on, in their order, with `after_others`.

        True: Redis had lost them, and with them the limits of single lanes and what was spent of them. Pauses that
        this daemon knows of are there again.
        """
        for queue in self.queues:  # a later call may fail, and Redis says it once only
            self._lost = bool(await self._call("refill", queue, int(queue in self._paused))) or self._lost
        lost, self._lost = self._lost, False
        return lost

    async def claim(self, queue: str, free: int) -> Claim:
        """At most `free` jobs, the most urgent first. After Unavailable call `recover` before the next claim."""
        number = next(self._claims)
        more, wait, flat, ready, shut, held = await self._claimed(queue, number, free)
        claimed, malformed = [], []
        for fence, (job_id, blob) in enumerate(zip(flat[0::2], flat[1::2], strict=True), number * 1000 + 1):
            try:
                claimed.append(Claimed(decode(queue, job_id.decode(), blob), fence))
            except ValueError as error:
                log.error("job.malformed", queue=queue, job_id=job_id.decode(errors="replace"))
                job = Job(id=job_id.decode(errors="replace"), queue=queue, payload=b"", priority=1, created_at=0)
                malformed.append(Finished(Claimed(job, fence), Ending.DEAD, reason="malformed", error=str(error)))
        if malformed:
            await self.finish(queue, malformed)
            self._metrics[queue].deaths["malformed"] += len(malformed)
        self._metrics[queue].claimed += len(claimed)
        self._metrics[queue].shut += shut
        wait = None if wait < 0 else wait / 1000
        return Claim(claimed, bool(more), wait, ready, bool(shut), held > 0, held > 1)

    async def _claimed(self, queue: str, number: int, free: int) -> list[Any]:
        limits = self._limits[queue]
        args: tuple[float | str, ...] = (self.consumer, number, min(free, _BATCH), self._ttl_ms, *limits, self._aged_ms)
        if not self._shared.applies(queue):
            answer: list[Any] = await self._call("claim", queue, *args)
            return answer
        await self._shared.count_running(self._call, self.consumer)
        known = await self._call("claim", queue, *args, *self._shared.args(queue), shared=True)
        if known is None:  # it gave nothing: Redis does not know the tenants' own limits yet, or any more
            await self._call("own", queue, *self._shared.own(), shared=True)
            known = await self._call("claim", queue, *args, *self._shared.args(queue), shared=True)
        if known is None:
            raise Unavailable("the limits of tenants changed during a claim")
        return list(known)

    async def finish(self, queue: str, results: Sequence[Finished]) -> list[bool]:
        """End claims, at most 500. False: refused, the job is no longer ours.

        The same results again, after the answer was lost, get the first answer.
        """
        first = results[0].claimed
        args: list[str | bytes | int] = [self.consumer, f"{first.fence}/{len(results)}"]
        for (job, fence), ending, delay_ms, reason, error, took_ms, given_back in results:
            if ending is Ending.DONE:
                args += (job.id, fence, job.lane, ending, f"{job.attempt}|{took_ms}|{job.tenant}")
            else:
                detail = f"{reason}\n{error}" if ending is Ending.DEAD else delay_ms
                if given_back:
                    rate, burst, *_ = self._limits[queue]
                    detail = f"{delay_ms}|{rate:f}|{burst:.0f}"
                args += (job.id, fence, job.lane, ending, detail)
        digits: bytes = await self._call("finish", queue, *args, shared=self._shared.counts(queue))
        return [digit == ord("1") for digit in digits]

    async def recover(self, queue: str, running: Iterable[str]) -> int:
        """Put back what this daemon holds but does not run: a claim whose answer was lost. `running` are job ids."""
        number = next(self._claims) - 1
        found: int = await self._call(
            "recover", queue, self.consumer, number, *running, shared=self._shared.takes_part(queue)
        )
        return found

    async def heartbeat(self, queue: str) -> list[tuple[str, int]]:
        """Say that this daemon is alive; from the loop that runs the jobs, so that a wedged one loses them.

        Returns what of its claims somebody wants ended: job id and fence.
        """
        canceled: list[bytes] = await self._beat("beat", queue, self.consumer, self._ttl_ms)
        mine = self.consumer.encode() + b"|"
        pairs = zip(canceled[0::2], canceled[1::2], strict=True)
        return [(job.decode(), int(claim.removeprefix(mine))) for job, claim in pairs if claim.startswith(mine)]

    async def reclaim(self, queue: str, *, others: bool, limit: int = 100) -> int:
        """Take jobs from dead daemons, a crash counted for each. `others`: also those of other nodes."""
        counts = self._shared.takes_part(queue)
        args = (self.consumer, self.node, int(others), limit, self._ttl_ms)
        taken: int = await self._call("reclaim", queue, *args, shared=counts)
        self._metrics[queue].reclaimed += taken
        return taken

    async def spare(self, queue: str, claimed: Claimed, *, begun: bool) -> None:
        """A claim that has not begun counts no crash, should this daemon die; forgotten after a minute."""
        await self._call("spare", queue, claimed.job.id, f"{self.consumer}|{claimed.fence}", int(not begun))

    async def leave(self, queue: str) -> None:
        """The last call of a daemon that stops: forget it."""
        await self._call("leave", queue, self.consumer)

    async def cancel(self, queue: str, job_id: str) -> bool:
        """Take a waiting or delayed job out. False: it runs, or there is none."""
        self._known(queue)
        canceled = bool(await self._call("cancel", queue, job_id) == 1)
        self._metrics[queue].outcomes["canceled"] += canceled
        return canceled

    async def reprioritize(self, queue: str, job_id: str, priority: int) -> bool | None:
        """Another level for a job that waits or is delayed. False: it runs; None: there is none."""
        self._known(queue)
        moved: int = await self._call("priority", queue, job_id, priority)
        return None if moved < 0 else moved == 1

    async def stop_running(self, queue: str, job_id: str) -> bool:
        """Take a job out wherever it is: also tell the daemon that runs it. False: it is in none of these places."""
        self._known(queue)
        place: int = await self._call("cancel", queue, job_id, 1)
        self._metrics[queue].outcomes["canceled"] += place == 1
        return place > 0

    async def pause(self, queue: str) -> None:
        """Claims give nothing until `resume`, on every daemon and over restarts."""
        self._known(queue)
        await self._call("pause", queue, 1)
        self._paused.add(queue)

    async def resume(self, queue: str) -> None:
        self._known(queue)
        await self._call("pause", queue, 0)
        self._paused.discard(queue)

    async def pause_kind(self, queue: str, kind: str, *, paused: bool = True) -> None:
        """Jobs of the kind wait, a lane with such a head waits too; resumed, they are first in line again."""
        self._known(queue)
        await self._call("pause", queue, int(paused), "kind", kind)

    async def pause_lane(self, queue: str, lane: str, *, paused: bool = True) -> None:
        """Nothing of the lane starts until it is resumed."""
        self._known(queue)
        await self._call("pause", queue, int(paused), "lane", lane)

    async def pauses(self, queue: str) -> Pauses:
        """What Redis knows to be paused."""
        paused, kinds, lanes = await self._call("pauses", queue)
        return Pauses(bool(paused), frozenset(map(bytes.decode, kinds)), frozenset(map(bytes.decode, lanes)))

    async def park_lane(self, queue: str, lane: str, seconds: float) -> None:
        """Nothing of the lane starts for that time. A longer park stays."""
        self._known(queue)
        await self._call("lane", queue, lane, "park", round(seconds * 1000))

    async def wake_lane(self, queue: str, lane: str) -> None:
        """End a park at once. Nor do jobs park it that were claimed before: what they wait for is there now."""
        self._known(queue)
        await self._call("lane", queue, lane, "wake")

    async def spend_burst(self, queue: str, lane: str) -> None:
        """The lane's next job waits one interval of its rate: nobody knows what it started a moment ago."""
        self._known(queue)
        await self._call("lane", queue, lane, "spend", *self._limits[queue][:2])

    async def lane_free_at(self, queue: str, lane: str) -> int | None:
        """From when (ms) the lane's rate or park lets its next job start; None: from now on."""
        self._known(queue)
        at: int = await self._call("lane", queue, lane, "look")
        return at or None

    def configure(self, queue: QueueSettings) -> None:
        """New limits of a queue, from the next claim on."""
        self._known(queue.name)
        self._limits[queue.name] = _limits(queue)
        self._shared.configure(queue)

    def limit_all(self, limits: SharedLimits) -> None:
        """New limits over all queues, from the next claim on."""
        self._shared.limits = limits

    async def limit_lane(
        self, queue: str, lane: str, *, per_minute: float | None, burst: int | None, cap: int | None
    ) -> None:
        """Limits of this lane instead of the queue's; None takes the queue's, a rate of 0 is no limit."""
        self._known(queue)
        values = ["" if value is None else value for value in (per_minute, burst, cap)]
        await self._call("lane", queue, lane, "limit", *values, *self._limits[queue][:2])

    async def locate(self, queue: str, ids: Sequence[str]) -> list[str]:
        """`live`, `dead`, `missing` or `astray` per id: known, and in none of the keys that jobs wait in."""
        self._known(queue)
        return [place for batch in _batches(ids) for place in await self._inspector.locate(queue, batch)]

    async def bring_back(self, queue: str, ids: Sequence[str]) -> int:
        """Those of them that are astray wait again, first in line; of a lane name the last first. At most 500."""
        self._known(queue)
        letters: bytes = await self._call("locate", queue, 1, *ids)
        found = letters.count(b"a")
        if found:
            self._on_ready(queue)
        return found

    async def settled(self, queue: str, cursor: str, count: int) -> tuple[list[tuple[str, str]], str]:
        """Some live jobs that do not run, as (tenant, id), and where to go on; `0` begins anew. May name one twice."""
        self._known(queue)
        after, flat = await self._call("settled", queue, cursor, count)
        found = [(tenant.decode(), job_id.decode()) for job_id, tenant in zip(flat[0::2], flat[1::2], strict=True)]
        return found, after.decode()

    async def expel(self, queue: str, job_id: str) -> bool:
        """Into quarantine with a job that nobody answers for. False: it runs, or there is none."""
        self._known(queue)
        return bool(await self._call("expel", queue, job_id))

    async def stats(self, queue: str) -> QueueStats:
        self._known(queue)
        stats = await self._inspector.stats(queue)
        if stats.whole:  # also another daemon's pause must outlive a loss of Redis
            (self._paused.add if stats.paused else self._paused.discard)(queue)
        elif queue in self._paused and not stats.paused:  # somebody deleted what says so
            await self._call("pause", queue, 1)
        return stats

    async def job(self, queue: str, job_id: str) -> JobView | None:
        self._known(queue)
        return await self._inspector.job(queue, job_id)

    async def list_jobs(self, queue: str, state: str, after: str | None = None, limit: int = 50) -> JobPage:
        """Jobs that are `waiting`, `active`, `delayed`, `staged`, `dead` or `completed`; `after` is a page's `next`."""
        self._known(queue)
        return await self._inspector.page(queue, state, after, min(limit, _BATCH))

    async def lanes(self, queue: str, after: str | None = None, limit: int = 50) -> LanePage:
        """Lanes with jobs, running ones and paused ones; `after` is a page's `next`."""
        self._known(queue)
        return await self._inspector.lanes(queue, after, min(limit, _BATCH))

    async def quarantine(self, queue: str, limit: int = 50) -> list[Stranger]:
        """What lay in the queue's streams and is not ours, the newest first."""
        self._known(queue)
        return await self._inspector.quarantine(queue, limit)

    async def drop_dead(self, queue: str, job_id: str) -> bool:
        """Forget a dead job: SQL keeps it, or it starts anew. False: it is not dead."""
        self._known(queue)
        return bool(await self._call("drop", queue, job_id) == 1)

    async def clean(self, queue: str) -> tuple[int, int]:
        """Forget completed and dead jobs past their retention. Bounded work per call."""
        self._known(queue)
        completed, dead = await self._call("clean", queue, *self._kept_ms, _MOST_DEAD)
        return completed, dead

    def _known(self, queue: str) -> None:
        if queue not in self._limits:
            raise NotFound(f"There is no queue {queue!r}.")


def _limits(queue: QueueSettings) -> tuple[float, ...]:
    return (
        queue.lane_rate_per_minute or 0,
        queue.lane_burst,
        queue.lane_cap,
        queue.rate_per_minute or 0,
        queue.burst,
        queue.max_in_flight or 0,
    )


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
