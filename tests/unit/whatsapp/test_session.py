"""One account over a transport that does what the test says."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from tests.support import eventually
from tests.support.whatsapp import ScriptedTransport, Upside, a_connection, a_message
from zapd.backoff import Backoff
from zapd.model.session import TRANSITIONS, Connection, SessionState
from zapd.whatsapp.credentials import CorruptCredentials
from zapd.whatsapp.metrics import Calls
from zapd.whatsapp.session import Session
from zapd.whatsapp.transport import NotConnected, PauseSession, RetryAt, StateChange

S = SessionState
FAST = Backoff(base=0.002, factor=1.0, jitter=0.0)


class Rig:
    def __init__(self, state: SessionState = S.CREATED) -> None:
        self.wire = ScriptedTransport()
        self.upside = Upside()
        self.calls = Calls()
        self.session = Session(
            connection=a_connection(state=state),
            transport=self.wire,
            on_state=self.upside.on_session_state,
            on_raw=self.upside.on_session_raw,
            on_up=self.on_up,
            random=lambda: 0.5,
            calls=self.calls,
            backoff=FAST,
            pair_within=0.05,
        )
        self.states_when_up: list[SessionState] = []

    async def on_up(self, connection: Connection) -> None:
        self.states_when_up.append(self.session.state)

    async def reaches(self, state: SessionState) -> None:
        await eventually(lambda: self.session.state is state)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.session.stop()


@pytest.fixture
async def up(rig: Rig) -> Rig:
    await rig.session.start()
    await rig.reaches(S.CONNECTED)
    return rig


async def test_a_start_is_told_before_the_transport_connects(rig: Rig) -> None:
    rig.wire.connects = False
    await rig.session.start()
    assert rig.upside.states == [S.STARTING]


async def test_pairing_is_told_step_by_step(rig: Rig) -> None:
    rig.wire.connects = False
    await rig.session.start()
    await eventually(lambda: rig.wire.starts)
    await rig.wire.say(S.QR_PENDING)
    await rig.wire.say(S.CONNECTED)
    assert rig.upside.states == [S.STARTING, S.QR_PENDING, S.CONNECTED]


async def test_a_second_start_changes_nothing(up: Rig) -> None:
    await up.session.start()
    assert (up.wire.starts, up.upside.states) == (1, [S.STARTING, S.CONNECTED])


async def test_a_connected_session_sends(up: Rig) -> None:
    result = await up.session.send(a_message())
    assert (result.provider_id, len(up.wire.sent)) == ("P1", 1)


async def test_what_hears_that_it_is_up_finds_it_connected(up: Rig) -> None:
    await eventually(lambda: up.states_when_up)
    assert up.states_when_up == [S.CONNECTED]


async def test_before_start_and_after_stop_sends_are_refused(up: Rig) -> None:
    never_started = Rig()
    await up.session.stop()
    for session in (never_started.session, up.session):
        with pytest.raises(NotConnected):
            await session.send(a_message())
    assert not up.wire.sent


async def test_a_lost_connection_comes_back_by_itself(up: Rig) -> None:
    await up.wire.say(S.RECONNECTING, "428")
    await eventually(lambda: up.upside.states[-2:] == [S.RECONNECTING, S.CONNECTED])
    assert (up.wire.starts, up.wire.stops) == (2, 1)
    await up.session.send(a_message())


async def test_sends_are_refused_while_the_connection_is_lost(up: Rig) -> None:
    up.wire.connects = False
    await up.wire.say(S.RECONNECTING, "428")
    with pytest.raises(NotConnected):
        await up.session.send(a_message())


async def test_a_flapping_line_is_one_change_and_not_a_storm(rig: Rig) -> None:
    rig.wire.start_trouble = OSError("no route")
    await rig.session.start()
    await eventually(lambda: rig.wire.starts > 5)
    assert rig.upside.states == [S.STARTING, S.RECONNECTING]
    rig.wire.start_trouble = None
    await rig.reaches(S.CONNECTED)


@pytest.mark.parametrize("state", [S.LOGGED_OUT, S.BANNED, S.CLIENT_OUTDATED, S.PAUSED, S.FAILED])
async def test_an_end_that_only_a_person_can_mend_stops_the_wire(up: Rig, state: SessionState) -> None:
    await up.wire.say(state, "why")
    await eventually(lambda: up.session.finished)
    assert (up.session.state, up.session.reason, up.wire.starts, up.wire.stops) == (state, "why", 1, 1)


async def test_a_send_that_finds_the_account_in_trouble_pauses_the_session(up: Rig) -> None:
    up.wire.trouble = PauseSession("auth_failed", "190")
    with pytest.raises(PauseSession):
        await up.session.send(a_message())
    with pytest.raises(NotConnected):  # at once, not only when the state is stored
        await up.session.send(a_message())
    await up.reaches(S.PAUSED)
    assert up.session.reason == "auth_failed"


async def test_resume_after_the_account_was_mended_connects_again(up: Rig) -> None:
    await up.wire.say(S.PAUSED, "auth_failed")
    await eventually(lambda: up.session.finished)
    await up.session.resume()
    await up.reaches(S.CONNECTED)
    assert up.wire.starts == 2


async def test_other_send_errors_leave_the_state_alone(up: Rig) -> None:
    up.wire.trouble = RetryAt("500")
    with pytest.raises(RetryAt):
        await up.session.send(a_message())
    assert up.session.state is S.CONNECTED


async def test_a_paused_session_refuses_sends_and_keeps_its_wire(up: Rig) -> None:
    await up.session.pause()
    with pytest.raises(NotConnected, match="paused"):
        await up.session.send(a_message())
    assert (up.session.state, up.wire.stops) == (S.PAUSED, 0)
    await up.session.resume()
    assert up.upside.states[-2:] == [S.PAUSED, S.CONNECTED]
    await up.session.send(a_message())


async def test_what_the_wire_says_does_not_end_a_pause(up: Rig) -> None:
    await up.session.pause()
    await up.wire.say(S.RECONNECTING, "428")
    await eventually(lambda: up.wire.starts == 2)
    assert up.session.state is S.PAUSED
    await up.session.resume()
    await up.reaches(S.CONNECTED)


async def test_a_pause_that_could_not_be_stored_is_none(up: Rig) -> None:
    up.upside.away = True
    with pytest.raises(ConnectionError):
        await up.session.pause()
    await up.session.send(a_message())


async def test_a_resume_that_could_not_be_stored_can_be_tried_again(up: Rig) -> None:
    await up.session.pause()
    up.upside.away = True
    with pytest.raises(ConnectionError):
        await up.session.resume()
    with pytest.raises(NotConnected):
        await up.session.send(a_message())
    up.upside.away = False
    await up.session.resume()
    await up.session.send(a_message())


async def test_a_state_that_could_not_be_stored_is_told_again(rig: Rig) -> None:
    rig.wire.connects = False
    await rig.session.start()
    await eventually(lambda: rig.wire.starts)
    rig.upside.away = True
    told = asyncio.create_task(rig.wire.say(S.CONNECTED), name="say")
    await eventually(lambda: rig.upside.refused > 1)
    assert rig.session.state is S.STARTING
    rig.upside.away = False
    await told
    assert rig.upside.states == [S.STARTING, S.CONNECTED]


async def test_stop_waits_for_a_send_on_the_wire(up: Rig) -> None:
    up.wire.answer.clear()
    send = asyncio.create_task(up.session.send(a_message()), name="send")
    await up.wire.reached.wait()
    stop = asyncio.create_task(up.session.stop(), name="stop")
    await asyncio.wait([stop], timeout=0.02)
    assert not stop.done()
    up.wire.answer.set()
    await stop
    assert send.result().provider_id == "P1"


async def test_stop_tells_no_state_and_may_come_twice(up: Rig) -> None:
    await up.session.stop()
    await up.session.stop()
    assert up.upside.states == [S.STARTING, S.CONNECTED]


async def test_a_stopped_session_can_start_again(up: Rig) -> None:
    await up.session.stop()
    await up.session.start()
    await eventually(lambda: up.wire.starts == 2)


async def test_starts_and_stops_in_any_mix_leave_no_task_behind(rig: Rig) -> None:
    commands = [rig.session.start, rig.session.stop, rig.session.pause, rig.session.resume]
    await asyncio.gather(*(commands[n % 4]() for n in range(40)))
    await rig.session.stop()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("session:")]


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("401", S.LOGGED_OUT, "401_logged_out"),
        ("402", S.BANNED, "402_temporary_ban"),
        ("403", S.PAUSED, "403_forbidden"),
        ("405", S.CLIENT_OUTDATED, "405_client_outdated"),
        ("406", S.BANNED, "406_banned"),
        ("440", S.PAUSED, "440_replaced"),
    ],
)
async def test_a_code_that_only_a_person_can_mend_breaks_the_circuit_and_is_said(
    up: Rig, code: str, state: SessionState, reason: str
) -> None:
    await up.wire.say(S.RECONNECTING, code)
    await eventually(lambda: up.session.finished)
    assert (up.session.state, up.session.reason, up.wire.starts) == (state, reason, 1)


async def test_a_restart_that_the_provider_asks_for_comes_at_once_but_not_in_a_loop(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []

    def delay(_: Backoff, failures: int, *, random: object) -> float:
        waits.append(failures)
        return 0.002

    monkeypatch.setattr(Backoff, "delay", delay)
    await rig.session.start()
    await rig.reaches(S.CONNECTED)
    for again in (2, 3):
        await rig.wire.say(S.RECONNECTING, "515")
        await eventually(partial(lambda count: rig.upside.states.count(S.CONNECTED) == count, again))
    assert waits == [2]  # none for the first, as for any second failure in a row after it


@pytest.mark.parametrize("code", ["408", "428", "503"])
async def test_a_line_that_was_lost_comes_back_after_a_wait(up: Rig, code: str) -> None:
    await up.wire.say(S.RECONNECTING, code)
    await eventually(lambda: up.wire.starts == 2)
    assert up.upside.changes[2].reason.partition("_")[0] == code  # type: ignore[union-attr]
    assert up.calls.reconnects == 1


async def test_a_wire_that_answers_is_left_alone(up: Rig) -> None:
    await up.session.look(timeout=1)
    assert (up.wire.probes, up.upside.states) == (1, [S.STARTING, S.CONNECTED])


@pytest.mark.parametrize("how", ["mute", "dead", "raises"])
async def test_a_zombie_is_degraded_then_started_anew(up: Rig, how: str) -> None:
    up.wire.mute, up.wire.alive = how == "mute", how != "dead"
    up.wire.trouble = OSError("broken pipe") if how == "raises" else None
    await up.session.look(timeout=0.01)
    assert up.upside.states[-1] is S.DEGRADED
    with pytest.raises(NotConnected):  # a zombie would swallow it
        await up.session.send(a_message())
    await up.session.look(timeout=0.01)
    up.wire.mute, up.wire.alive, up.wire.trouble = False, True, None
    await eventually(lambda: up.wire.starts == 2 and up.session.state is S.CONNECTED)
    assert up.upside.states[2:] == [S.DEGRADED, S.RECONNECTING, S.CONNECTED]
    await up.session.send(a_message())


async def test_one_that_answers_again_sends_again(up: Rig) -> None:
    up.wire.alive = False
    await up.session.look(timeout=1)
    up.wire.alive = True
    await up.session.look(timeout=1)
    assert up.upside.changes[-1] == StateChange(state=S.CONNECTED, reason="alive_again")
    assert (len(up.states_when_up), up.wire.starts) == (2, 1)


async def test_a_probe_that_finds_the_account_in_trouble_ends_the_connection(up: Rig) -> None:
    up.wire.trouble = PauseSession("auth_failed", "190")
    await up.session.look(timeout=1)
    await up.reaches(S.PAUSED)
    assert up.session.reason == "auth_failed"


async def test_nothing_is_asked_before_start_or_after_the_end(rig: Rig) -> None:
    await rig.session.look(timeout=1)
    await rig.session.start()
    await rig.reaches(S.CONNECTED)
    await rig.session.stop()
    await rig.session.look(timeout=1)
    assert rig.wire.probes == 0


async def test_a_paused_session_is_probed_and_stays_paused(up: Rig) -> None:
    await up.session.pause()
    up.wire.alive = False
    for _ in range(2):
        await up.session.look(timeout=1)
    up.wire.alive = True
    await eventually(lambda: up.wire.starts == 2)
    assert up.session.state is S.PAUSED


async def test_every_sign_of_life_counts(up: Rig) -> None:
    for sign in (up.session.send(a_message()), up.session._raw(b"{}"), up.wire.say(S.CONNECTED)):
        up.session.last_sign = 0.0
        await sign
        assert up.session.last_sign > 0.0


async def test_a_pairing_that_nobody_finishes_ends(rig: Rig) -> None:
    rig.wire.connects = False
    await rig.session.start()
    await eventually(lambda: rig.wire.starts)
    await rig.wire.say(S.QR_PENDING)
    await rig.reaches(S.FAILED)
    assert (rig.session.reason, rig.session.finished) == ("qr_timeout", True)


async def test_a_passkey_that_nobody_confirms_is_told_apart_from_a_code_that_nobody_scans(rig: Rig) -> None:
    rig.wire.connects = False
    await rig.session.start()
    await eventually(lambda: rig.wire.starts)
    await rig.wire.say(S.QR_PENDING)
    await rig.wire.say(S.PASSKEY_REQUIRED)
    await rig.reaches(S.FAILED)
    assert (rig.session.reason, rig.session.finished) == ("passkey_timeout", True)


async def test_a_pairing_in_time_is_not_cut_off(rig: Rig) -> None:
    rig.wire.connects = False
    await rig.session.start()
    await eventually(lambda: rig.wire.starts)
    await rig.wire.say(S.QR_PENDING)
    await rig.wire.say(S.CONNECTED)
    await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0.08))])  # longer than `pair_within`
    assert rig.session.state is S.CONNECTED


async def test_pairing_by_phone_asks_the_transport_once_it_has_started(rig: Rig) -> None:
    rig.wire.connects = False
    await rig.session.pair(phone="5511999998888")
    assert rig.wire.paired_with == ["5511999998888"]
    assert [code.typed for code in rig.upside.codes] == [True]


@pytest.mark.parametrize("trouble", [None, OSError("gone")])
async def test_logout_unlinks_and_a_wire_that_fails_cannot_prevent_it(up: Rig, trouble: Exception | None) -> None:
    up.wire.logout_trouble = trouble
    await up.session.logout("asked")
    assert (up.session.state, up.session.reason, up.wire.logouts) == (S.LOGGED_OUT, "asked", 1)
    with pytest.raises(NotConnected):
        await up.session.send(a_message())
    await up.session.start()
    await up.reaches(S.CONNECTED)


async def test_a_login_that_cannot_be_read_fails_the_session_without_a_retry(rig: Rig) -> None:
    rig.wire.start_trouble = CorruptCredentials("changed")
    await rig.session.start()
    await rig.reaches(S.FAILED)
    assert (rig.session.reason, rig.wire.starts) == ("corrupt_credentials", 1)


@pytest.mark.parametrize("state", [s for s in S if S.STARTING in TRANSITIONS[s]])
async def test_a_session_starts_from_whatever_state_was_stored(state: SessionState) -> None:
    rig = Rig(state)
    await rig.session.start()
    await rig.reaches(S.CONNECTED)
    await rig.session.stop()
