"""The gauges that are counted every few seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support import eventually
from zapd.errors import Unavailable
from zapd.sampler import Sample, Sampler


@asynccontextmanager
async def running(**samples: Sample) -> AsyncIterator[Sampler]:
    sampler = Sampler(samples=samples, every=0.001)
    task = asyncio.create_task(sampler.run(), name="sampler")
    yield sampler
    await sampler.stop()
    await task


async def test_it_samples_again_and_again() -> None:
    rounds: list[str] = []

    async def sample() -> None:
        rounds.append("")

    async with running(one=sample):
        await eventually(lambda: len(rounds) > 2)


async def test_what_is_away_does_not_keep_the_others_from_being_counted() -> None:
    rounds: list[str] = []

    async def redis() -> None:
        raise Unavailable("Redis")

    async def disk() -> None:
        raise FileNotFoundError

    async def sql() -> None:
        rounds.append("sql")

    async with running(redis=redis, disk=disk, sql=sql):
        await eventually(lambda: len(rounds) > 2)
