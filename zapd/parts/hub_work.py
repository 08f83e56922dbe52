"""What the event hub's jobs do, by their kind."""

from zapd.events.acting import Actor
from zapd.events.envelope import ACT, PROCESS, REPLAY, SELFTEST, SYNC
from zapd.events.processing import Processor
from zapd.events.replaying import REDELIVER, Replayer
from zapd.events.syncing import Syncer
from zapd.jobs.job import Discard, Job, Outcome
from zapd.parts.queues import Work


def process_work(
    *, processor: Processor, actor: Actor, replayer: Replayer, syncer: Syncer, selftest_events: int
) -> Work:
    """The work of event:process: one function for each kind of job."""

    async def selftest(job: Job) -> Outcome:
        return await replayer.selftest(job, count=selftest_events)

    handlers = {
        PROCESS: processor.handle,
        ACT: actor.handle,
        REPLAY: replayer.handle,
        REDELIVER: replayer.one,
        SYNC: syncer.handle,
        SELFTEST: selftest,
    }
    dead = {PROCESS: processor.dead, ACT: actor.dead, SYNC: syncer.dead}

    async def handle(job: Job) -> Outcome:
        handler = handlers.get(job.kind)
        return await handler(job) if handler else Discard("refused", f"no work of kind {job.kind!r}")

    async def mourn(job: Job, reason: str, error: str) -> None:
        if job.kind in dead:
            await dead[job.kind](job, reason, error)

    return Work(handle, mourn)


def acting(actor: Actor, others: Work | None = None) -> Work:
    """The work of a queue that does actions, and perhaps `others` beside them."""

    async def handle(job: Job) -> Outcome:
        if job.kind == ACT:
            return await actor.handle(job)
        return await others.handler(job) if others else Discard("refused", f"no work of kind {job.kind!r}")

    async def mourn(job: Job, reason: str, error: str) -> None:
        if job.kind == ACT:
            await actor.dead(job, reason, error)
        elif others:
            await others.dead(job, reason, error)

    return Work(handle, mourn)
