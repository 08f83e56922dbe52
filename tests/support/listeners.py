"""Listeners of an operator, for queues of tests: `tests.support.listeners:NAME` in the daemon's own process."""

import asyncio
from typing import Any

from zapd.actions.listener import ListenerJob
from zapd.jobs.job import Discard, Retry


class Stubborn(ValueError):
    """An error of the operator's own."""


async def work(job: ListenerJob) -> Any:
    """Does what the payload says."""
    wish = job.payload
    job.log(f"try {job.attempt} of {job.id}")
    job.progress(25)
    match wish:
        case {"raise": text}:
            raise Stubborn(text)
        case {"retry": text}:
            return Retry(text, after=0.01)
        case {"discard": text}:
            return Discard("refused", text)
        case {"hang": seconds}:
            await asyncio.sleep(seconds)
        case {"add": number}:
            return number + (job.previous or 0)
    return None


def blocking(job: ListenerJob) -> dict[str, Any]:
    """A plain function, in a thread."""
    job.progress(50)
    return {"seen": job.payload}
