"""Start and stop, in the order that loses nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from tests.integration.messaging.world import SEND, World
from tests.support import eventually
from tests.support.store import message as a_message
from zapd.errors import Unavailable
from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.job import Done, Job, Outcome
from zapd.lifecycle import Lifecycle
from zapd.state import State
from zapd.supervisor import Service, Supervisor
from zapd.web.server import Server

HURRY = 60.0  #: a deadline that no test waits for


class Part:
    """A service that writes down what happens to it."""

    def __init__(self, name: str, story: list[str]) -> None:
        self.name = name
        self._story = story
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        self._story.append(f"{self.name} runs")
        await self._stopped.wait()

    async def stop(self) -> None:
        self._story.append(f"{self.name} stops")
        self._stopped.set()


class Daemon:
    """The real dispatcher, pool, outbox and server; the parts around them write down when they start and stop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.story: list[str] = []
        self.started, self.go_on = asyncio.Event(), asyncio.Event()
        self.draining, self.now = asyncio.Event(), asyncio.Event()
        self.trouble: Exception | None = None
        pool = world.engine.pool(self.handle, SEND)
        pool._on_finished = world.outbox.finished
        dispatcher = self.dispatcher = Dispatcher(broker=world.engine.broker, pools=[pool])
        world.engine.broker._on_ready = dispatcher.wake
        app = web.Application()
        app.router.add_post("/", self.accept)
        app.on_shutdown.append(self._http_closed)
        self.server = Server(app=app, host="127.0.0.1", port=0)
        parts: list[Service] = [Part("sessions", self.story), dispatcher, world.outbox, Part("cron", self.story)]
        self.state = State(version="1", services=dict, parts={})
        self.lifecycle = Lifecycle(
            resources=self._supervisor([Part("writer", self.story)]),
            parts=self._supervisor(parts),
            pools=[pool],
            dispatcher=dispatcher,
            pause_all=self._pause_all,
            outbox=world.outbox,
            server=self.server,
            state=self.state,
            draining=self.draining,
            open_database=lambda: self._note("database opens"),
            prepare=self._prepare,
            close_connections=lambda: self._note("connections close"),
            close_database=lambda: self._note("database closes"),
        )

    def _supervisor(self, services: list[Service]) -> Supervisor:
        return Supervisor(services=services, random=lambda: 0.0, on_failed=lambda name, reason: None)

    async def _pause_all(self, *, paused: bool) -> None:
        self.dispatcher.hold(paused)

    async def _note(self, what: str) -> None:
        self.story.append(what)

    async def _prepare(self) -> None:
        self.story.append("prepared")
        if self.trouble:
            raise self.trouble

    async def _http_closed(self, _: web.Application) -> None:
        self.story.append("http closes")

    async def handle(self, job: Job) -> Outcome:
        self.started.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.story.append(f"{job.payload.decode()} canceled")
            raise
        self.story.append(f"{job.payload.decode()} ends")
        return Done()

    async def accept(self, request: web.Request) -> web.Response:
        await self.add((await request.read()).decode())
        return web.Response(status=202)

    async def add(self, name: str) -> None:
        world = self.world
        job = Job(id=world.ids.new("job"), queue=SEND, payload=name.encode(), priority=5, created_at=1)
        await world.outbox.commit(world.messages.added(a_message(world.ids.new("msg"))), jobs=[job])

    async def post(self, name: str) -> int:
        (site,) = self.server._sites
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # port 0
        async with aiohttp.ClientSession() as http, http.post(f"http://127.0.0.1:{port}/", data=name) as answer:
            return answer.status

    async def rows(self) -> list[str]:
        return [job.payload.decode() for job in await self.world.jobs(SEND)]

    def stop(self, deadline: float = HURRY) -> "asyncio.Task[None]":
        return asyncio.create_task(self.lifecycle.stop(deadline=deadline, now=self.now), name="stop")


@pytest.fixture
async def daemon(world: World) -> AsyncIterator[Daemon]:
    built = Daemon(world)
    yield built
    built.go_on.set()
    await built.lifecycle.close()


@asynccontextmanager
async def busy(daemon: Daemon) -> AsyncIterator[None]:
    """Running, and in the middle of a job."""
    await daemon.lifecycle.start([])
    await daemon.add("one")
    await daemon.started.wait()
    daemon.story.clear()
    yield


async def test_it_starts_from_the_resources_to_the_parts_and_is_ready_last(daemon: Daemon) -> None:
    assert daemon.state.phase == "starting"
    await daemon.lifecycle.start([])
    assert daemon.story == ["database opens", "writer runs", "prepared", "sessions runs", "cron runs"]
    assert daemon.state.phase == "running"
    assert await daemon.post("one") == 202


async def test_it_stops_from_the_claims_to_the_resources(daemon: Daemon) -> None:
    async with busy(daemon):
        stopping = daemon.stop()
        await eventually(lambda: daemon.story == ["cron stops"])
        daemon.go_on.set()
        await stopping
    story = [line for line in daemon.story if line != "cron stops"]
    assert story == [
        "one ends",
        "http closes",
        "sessions stops",
        "connections close",
        "writer stops",
        "database closes",
    ]
    assert await daemon.rows() == []  # of the job that ended in the drain


async def test_while_it_drains_http_accepts_and_sql_keeps_it_for_the_next_start(daemon: Daemon) -> None:
    async with busy(daemon):
        stopping = daemon.stop()
        await eventually(lambda: daemon.story == ["cron stops"])
        assert (daemon.state.phase, daemon.draining.is_set()) == ("draining", True)
        assert await daemon.post("two") == 202
        daemon.go_on.set()
        await stopping
    assert "two ends" not in daemon.story
    assert (await daemon.world.engine.broker.stats(SEND)).waiting == 0  # Redis did not get it
    assert await daemon.rows() == ["two"]


@pytest.mark.parametrize("hurry", [True, False], ids=["a second signal", "the deadline"])
async def test_what_does_not_end_in_time_is_handed_back(daemon: Daemon, hurry: bool) -> None:
    async with busy(daemon):
        if hurry:
            daemon.now.set()
        await daemon.stop(HURRY if hurry else 0.0)
    assert daemon.story.index("one canceled") < daemon.story.index("sessions stops")
    assert await daemon.rows() == ["one"]
    claim = await daemon.world.engine.another("b").claim(SEND, 1)
    assert [(claimed.job.attempt, claimed.job.crashes) for claimed in claim.jobs] == [(1, 0)]


async def test_after_a_start_that_failed_half_way_everything_is_let_go(daemon: Daemon) -> None:
    daemon.trouble = Unavailable("SQL is away")
    with pytest.raises(Unavailable):
        await daemon.lifecycle.start([])
    await daemon.lifecycle.close()
    assert daemon.state.phase == "starting"
    assert daemon.story[-3:] == ["connections close", "writer stops", "database closes"]
    assert "sessions runs" not in daemon.story


async def test_paused_it_claims_nothing_until_it_is_resumed(daemon: Daemon) -> None:
    await daemon.lifecycle.start([])
    await daemon.lifecycle.pause()
    await daemon.add("one")
    turns = daemon.lifecycle.turns
    await eventually(lambda: daemon.lifecycle.turns > turns)
    assert not daemon.started.is_set()
    await daemon.lifecycle.resume()
    await asyncio.wait_for(daemon.started.wait(), 5)


async def test_a_host_that_does_not_exist_is_named() -> None:
    server = Server(app=web.Application(), host="nowhere.invalid", port=0)
    with pytest.raises(OSError, match=r"\[http\] listen: there is no host nowhere.invalid"):
        await server.start([])
    await server.close()
