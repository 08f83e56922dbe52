"""The owner of all sessions."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from tests.support import eventually
from tests.support.whatsapp import ScriptedTransport, Upside, a_connection, a_message
from zapd.errors import FieldError, InvalidInput, Unavailable
from zapd.model.session import Connection, SessionState, TransportName
from zapd.whatsapp.manager import Pulse, SessionManager, comes_back
from zapd.whatsapp.transport import NotConnected

S = SessionState


class Rig:
    def __init__(self) -> None:
        self.upside = Upside()
        self.wires: dict[str, ScriptedTransport] = {}
        self.broken: set[str] = set()
        self.stored: list[Connection] = []
        self.manager = SessionManager(
            transports={TransportName.SANDBOX: self.wire},
            wanted=self.wanted,
            on_state=self.on_state,
            on_raw=self.upside.on_session_raw,
            on_up=self.upside.on_session_up,
            random=lambda: 0.0,
            pulse=Pulse(quiet_after=0.02, timeout=0.05),
        )
        self.told: list[tuple[str, SessionState]] = []
        self.store_refuses: set[str] = set()

    def wire(self, connection: Connection) -> ScriptedTransport:
        if connection.id in self.broken:
            raise InvalidInput(FieldError("config.token", "missing"))
        self.wires[connection.id] = ScriptedTransport()
        return self.wires[connection.id]

    async def wanted(self) -> Sequence[Connection]:
        return self.stored

    async def on_state(self, connection: Connection, told: object) -> None:
        if connection.id in self.store_refuses:
            raise KeyError(connection.id)
        self.told.append((connection.id, told.state))  # type: ignore[attr-defined]  # no code is told here

    def state(self, connection_id: str) -> SessionState | None:
        session = self.manager.get("default", connection_id)
        return session.state if session else None


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.manager.stop()


@pytest.fixture
async def boot(rig: Rig) -> AsyncIterator[asyncio.Event]:
    """Set it to run the manager as the supervisor does."""
    go = asyncio.Event()

    async def run() -> None:
        await go.wait()
        await rig.manager.run()

    task = asyncio.create_task(run(), name="manager")
    yield go
    go.set()
    await rig.manager.stop()
    await task


async def test_wanted_sessions_start_at_boot(rig: Rig, boot: asyncio.Event) -> None:
    rig.stored = [a_connection(f"con_{n}") for n in range(5)]
    boot.set()
    await eventually(lambda: rig.manager.states() == {S.CONNECTED: 5})


async def test_one_with_wrong_settings_fails_and_costs_the_others_nothing(rig: Rig, boot: asyncio.Event) -> None:
    rig.stored = [a_connection("con_bad"), a_connection("con_good"), a_connection("x", transport=TransportName.WEB)]
    rig.broken = {"con_bad"}
    boot.set()
    await eventually(lambda: rig.state("con_good") is S.CONNECTED and ("x", S.FAILED) in rig.told)
    assert ("con_bad", S.FAILED) in rig.told


async def test_one_whose_state_cannot_be_stored_comes_again_after_the_others(
    rig: Rig, boot: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zapd.whatsapp.manager.RETRY_AFTER", 0.01)
    rig.stored = [a_connection("con_odd"), a_connection("con_good")]
    rig.store_refuses = {"con_odd"}
    boot.set()
    await eventually(lambda: rig.state("con_good") is S.CONNECTED)
    rig.store_refuses = set()
    await eventually(lambda: rig.state("con_odd") is S.CONNECTED)


async def test_a_zombie_is_found_and_costs_the_others_nothing(rig: Rig, boot: asyncio.Event) -> None:
    rig.stored = [a_connection(f"con_{n}") for n in range(3)]
    boot.set()
    await eventually(lambda: rig.manager.states() == {S.CONNECTED: 3})
    rig.wires["con_1"].mute = True
    await eventually(lambda: ("con_1", S.DEGRADED) in rig.told)
    rig.wires["con_1"].mute = False
    await eventually(lambda: rig.wires["con_0"].probes > 3 and rig.state("con_1") is S.CONNECTED)
    others = [state for name, state in rig.told if name != "con_1"]
    assert others == [S.STARTING, S.CONNECTED] * 2 or sorted(others) == sorted([S.STARTING, S.CONNECTED] * 2)


@pytest.mark.parametrize(
    ("state", "reason", "comes"),
    [
        (S.CREATED, None, True),
        (S.CONNECTED, None, True),
        (S.RECONNECTING, "428_connection_lost", True),
        (S.CLIENT_OUTDATED, "405_client_outdated", True),  # this may be the new version
        (S.PAUSED, "asked", True),  # desired is connected: it was being resumed
        (S.PAUSED, "440_replaced", False),
        (S.BANNED, "406_banned", False),
        (S.LOGGED_OUT, "401_logged_out", False),
        (S.FAILED, "qr_timeout", False),
        (S.FAILED, "passkey_timeout", False),
    ],
)
def test_what_waits_for_a_person_is_not_started_by_a_restart(
    state: SessionState, reason: str | None, comes: bool
) -> None:
    assert comes_back(replace(a_connection(state=state), reason=reason)) is comes


async def test_logout_forgets_the_session_and_says_when_there_is_none(rig: Rig) -> None:
    session = await rig.manager.start(a_connection())
    await eventually(lambda: session.state is S.CONNECTED)
    assert await rig.manager.logout(a_connection())
    assert (session.state, rig.manager.get("default", "con_1")) == (S.LOGGED_OUT, None)
    assert not await rig.manager.logout(a_connection())


async def test_starting_what_is_up_gives_the_same_session(rig: Rig) -> None:
    first, second = await asyncio.gather(rig.manager.start(a_connection()), rig.manager.start(a_connection()))
    assert first is second
    await eventually(lambda: rig.wires["con_1"].starts == 1)


async def test_a_session_that_ended_is_built_anew(rig: Rig) -> None:
    session = await rig.manager.start(a_connection())
    await eventually(lambda: session.state is S.CONNECTED)
    await rig.wires["con_1"].say(S.LOGGED_OUT, "401")
    await eventually(lambda: session.finished)
    assert await rig.manager.start(a_connection(state=S.LOGGED_OUT)) is not session
    await eventually(lambda: rig.state("con_1") is S.CONNECTED)


async def test_trouble_of_one_session_is_not_seen_by_another(rig: Rig) -> None:
    for name in ("con_1", "con_2"):
        await rig.manager.start(a_connection(name))
    await eventually(lambda: rig.manager.states() == {S.CONNECTED: 2})
    rig.wires["con_1"].start_trouble = RuntimeError("broken")
    await rig.wires["con_1"].say(S.RECONNECTING, "500")
    session = rig.manager.get("default", "con_2")
    assert session
    await session.send(a_message())
    await eventually(lambda: rig.state("con_1") is S.RECONNECTING)


async def test_close_forgets_the_session(rig: Rig) -> None:
    await rig.manager.start(a_connection())
    await rig.manager.close("default", "con_1")
    await rig.manager.close("default", "con_1")
    assert rig.manager.get("default", "con_1") is None


async def test_a_tenant_does_not_see_the_session_of_another(rig: Rig) -> None:
    await rig.manager.start(a_connection())
    assert rig.manager.get("other", "con_1") is None


async def test_pause_and_resume_reach_the_session(rig: Rig) -> None:
    session = await rig.manager.start(a_connection())
    await eventually(lambda: session.state is S.CONNECTED)
    assert await rig.manager.pause("default", "con_1")
    with pytest.raises(NotConnected, match="paused"):
        await session.send(a_message())
    assert await rig.manager.resume(a_connection()) is session
    await session.send(a_message())


async def test_pausing_a_session_that_is_not_here_says_so(rig: Rig) -> None:
    assert not await rig.manager.pause("default", "con_1")
    await rig.manager.resume(a_connection(state=S.PAUSED))
    await eventually(lambda: rig.state("con_1") is S.CONNECTED)


async def test_stop_ends_every_session_and_refuses_new_ones(rig: Rig, boot: asyncio.Event) -> None:
    rig.stored = [a_connection(f"con_{n}") for n in range(5)]
    boot.set()
    await eventually(lambda: rig.manager.states() == {S.CONNECTED: 5})
    await asyncio.gather(rig.manager.stop(), rig.manager.stop())
    assert all(wire.stops for wire in rig.wires.values())
    with pytest.raises(Unavailable):
        await rig.manager.start(a_connection())


async def test_stop_before_run_makes_run_return(rig: Rig) -> None:
    rig.stored = [a_connection()]
    await rig.manager.stop()
    await rig.manager.run()
    assert not rig.wires
