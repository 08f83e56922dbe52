"""Sessions that are opened and closed again and again leave nothing behind: no memory, no task, no file."""

import asyncio
import gc
import logging
import os
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.support import FakeClock, eventually, make_ids
from tests.support.whatsapp import MemoryCredentials, MemoryLedger, Upside, a_connection, a_message, no_files
from zapd.model.session import Connection, SessionState, TransportName
from zapd.whatsapp.manager import Pulse, SessionManager
from zapd.whatsapp.sandbox import SandboxTransport
from zapd.whatsapp.sandbox_network import SandboxNetwork

SESSIONS, ROUNDS = 200, 20
LEAK = 200  #: bytes a session and round that are one; a session takes some ten thousand


class Side:
    """Everything of the sandbox and the sessions; what they tell is dropped."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.network = SandboxNetwork(
            ledger=self.ledger, now_ms=FakeClock().now_ms, ids=make_ids(), pair_after=0.0, latency=0.0
        )
        self.manager = SessionManager(
            transports={TransportName.SANDBOX: self.transport},
            wanted=self.nothing,
            on_state=self.drop,
            on_raw=self.drop,
            on_up=Upside().on_session_up,
            random=lambda: 0.5,
            pulse=Pulse(quiet_after=0.01),
        )

    def transport(self, connection: Connection) -> SandboxTransport:
        return SandboxTransport(
            connection=connection, network=self.network, credentials=MemoryCredentials(), read=no_files
        )

    async def nothing(self) -> list[Connection]:
        return []

    async def drop(self, *_: object) -> None:
        return None

    async def open_and_close(self, time: int) -> None:
        """All of them up, each sends, all closed. New ones each time: what is kept by their name must go as well."""
        connections = [a_connection(f"con_{time}_{n}") for n in range(SESSIONS)]
        sessions = await asyncio.gather(*[self.manager.start(connection) for connection in connections])
        await eventually(lambda: self.manager.states() == {SessionState.CONNECTED: SESSIONS}, within=30)
        await asyncio.gather(*[session.send(a_message(connection_id=session.connection.id)) for session in sessions])
        for connection in connections:
            await self.manager.close(connection.tenant, connection.id)
            self.network.forget(connection.tenant, connection.id)
        self.ledger.entries.clear()


@pytest.fixture
def quiet() -> Iterator[None]:
    """Twenty thousand lines of log take longer than the test."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("quiet")
async def test_200_sessions_opened_and_closed_20_times_return_to_the_baseline() -> None:
    side = Side()
    running = asyncio.create_task(side.manager.run(), name="manager")
    await side.open_and_close(ROUNDS)  # what is made once is made
    tracemalloc.start()
    try:
        before = _now()
        for time in range(ROUNDS):
            await side.open_and_close(time)
        after = _now()
    finally:
        tracemalloc.stop()
        await side.manager.stop()
        await running
    assert after[1:] == before[1:]
    assert (after[0] - before[0]) / (SESSIONS * ROUNDS) < LEAK


@pytest.mark.usefixtures("quiet")
async def test_a_closed_session_does_not_wait_for_the_collector() -> None:
    side = Side()
    running = asyncio.create_task(side.manager.run(), name="manager")
    gc.collect()
    gc.disable()
    try:
        connection = a_connection("con_1")
        kept = weakref.ref(await side.manager.start(connection))
        await eventually(lambda: side.manager.states() == {SessionState.CONNECTED: 1}, within=30)
        await side.manager.close(connection.tenant, connection.id)
        side.network.forget(connection.tenant, connection.id)
        await eventually(lambda: kept() is None)
    finally:
        gc.enable()
        await side.manager.stop()
        await running


def _now() -> tuple[int, int, int]:
    """Bytes of Python objects, tasks, open files."""
    gc.collect()
    return (
        tracemalloc.get_traced_memory()[0],
        len(asyncio.all_tasks()),
        len(list(Path(f"/proc/{os.getpid()}/fd").iterdir())),
    )
