"""Every test of this suite runs once for each transport."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.contract.whatsapp.network import Network
from tests.contract.whatsapp.sides import cloud, sandbox, web, zapi
from tests.support import eventually
from zapd.model.session import SessionState

SIDES: dict[str, Callable[[], AsyncIterator[Network]]] = {
    "sandbox": sandbox.side,
    "cloud": cloud.side,
    "zapi": zapi.side,
    "web": web.side,
}

Start = Callable[[Network], Awaitable[None]]


@pytest.fixture(params=SIDES)
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    async for side in SIDES[request.param]():
        yield side
        await side.transport.stop()


@pytest.fixture
def start() -> Start:
    async def connect(network: Network) -> None:
        upside = network.upside
        before = upside.states.count(SessionState.CONNECTED)
        await network.transport.start(on_state=upside.on_state, on_raw=upside.on_raw)
        await eventually(lambda: upside.states.count(SessionState.CONNECTED) > before)

    return connect


@pytest.fixture
async def up(network: Network, start: Start) -> Network:
    await start(network)
    return network
