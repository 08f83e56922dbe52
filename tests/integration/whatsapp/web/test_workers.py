"""Worker processes that crash, hang, grow or cannot run: what it costs, and whom."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.whatsapp_web.world import OTHER, USER, WITHIN, Phone, Templates, World, text_of, world
from zapd.model.message import MessageStatus
from zapd.model.session import SessionState
from zapd.whatsapp.transport import RetryAt, UnknownOutcome

S = SessionState


@pytest.fixture
async def two(web: World, templates: Templates) -> tuple[Phone, Phone]:
    """Two accounts in one worker."""
    first, second = web.phone("con_1", USER), web.phone("con_2", OTHER)
    await asyncio.gather(first.linked(templates), second.linked(templates))
    assert first.worker is second.worker
    return first, second


async def again(phone: Phone) -> None:
    """What a session does when its connection was lost."""
    await phone.state(S.RECONNECTING)
    await phone.transport.stop()
    await phone.start()
    await phone.connected(times=2)


# --- a send whose worker dies ---


async def test_a_worker_killed_in_the_middle_of_a_send_leaves_a_trace_that_a_receipt_finds(
    web: World, phone: Phone
) -> None:
    web.server.troubles.append("hush")
    message = phone.message(text="Olá")
    sending = asyncio.create_task(phone.transport.send(message))
    [arrived] = await web.arrived()
    os.kill(phone.worker.pid, signal.SIGKILL)
    with pytest.raises(UnknownOutcome) as doubt:
        await sending
    assert doubt.value.provider_id == arrived.id

    await again(phone)
    assert (await phone.transport.trace(message)).provider_id == arrived.id
    await web.server.receipt(USER, arrived)
    [receipt] = await eventually(phone.receipts, within=WITHIN)
    assert (receipt.provider_id, receipt.message_id) == (arrived.id, "msg_1")
    assert receipt.status is MessageStatus.DELIVERED


async def test_what_never_reached_the_line_may_be_sent_again(web: World, phone: Phone) -> None:
    """Stopped before the library had written the message's id down."""
    message = phone.message()
    os.kill(phone.worker.pid, signal.SIGSTOP)
    sending = asyncio.create_task(phone.transport.send(message))
    await eventually(lambda: phone.transport._sends.under_way)
    os.kill(phone.worker.pid, signal.SIGKILL)
    with pytest.raises(RetryAt):
        await sending
    await again(phone)
    assert (await phone.transport.trace(message)).provider_id is None
    await phone.transport.send(message)
    assert len(await web.arrived()) == 1


async def test_an_answer_that_does_not_come_in_time_is_a_doubt_with_a_trace(web: World, templates: Templates) -> None:
    phone = await web.phone(send_within=0.5).linked(templates)
    web.server.troubles.append("hush")
    message = phone.message()
    with pytest.raises(UnknownOutcome) as doubt:
        await phone.transport.send(message)
    [arrived] = await web.arrived()
    assert doubt.value.provider_id == arrived.id
    with pytest.raises(UnknownOutcome):
        await phone.transport.trace(message)  # the worker may still be at it

    await web.server.acknowledge(USER, arrived)
    [receipt] = await eventually(phone.receipts, within=WITHIN)
    assert (receipt.status, receipt.provider_id, receipt.message_id) == (MessageStatus.SENT, arrived.id, "msg_1")


async def test_two_tries_of_one_message_do_not_share_a_trace(web: World, phone: Phone) -> None:
    first, second = phone.message(sending_at=1), phone.message(sending_at=2)
    result = await phone.transport.send(first)
    assert (await phone.transport.trace(first)).provider_id == result.provider_id
    assert (await phone.transport.trace(second)).provider_id is None


# --- crashes ---


async def test_a_crash_costs_the_accounts_in_that_worker_a_moment(web: World, two: tuple[Phone, Phone]) -> None:
    alone = web.phone("con_3", USER)
    first, second = two
    await web.server.crash(USER)  # what it sends makes the library abort its process
    assert await first.state(S.RECONNECTING) == "worker_died"
    assert await second.state(S.RECONNECTING) == "worker_died"
    for phone in two:
        await phone.transport.stop()
        await phone.start()
        await phone.connected(times=2)
    await second.transport.send(second.message())
    await web.arrived()
    assert alone.upside.changes == []


async def test_after_crashes_an_account_shares_with_fewer_others(tmp_path: Path, templates: Templates) -> None:
    async with world(tmp_path / "web", sessions_per_worker=2) as web:
        first, second = web.phone("con_1", USER), web.phone("con_2", OTHER)
        await first.linked(templates)
        await second.linked(templates)
        assert first.worker is second.worker
        await web.server.crash(USER)
        await asyncio.gather(again(first), again(second))
        assert first.worker is not second.worker


async def test_an_account_that_crashes_alone_again_and_again_fails(tmp_path: Path, templates: Templates) -> None:
    async with world(tmp_path / "web", sessions_per_worker=1) as web:
        phone = await web.phone().linked(templates)
        for times in range(1, 6):
            await phone.connected(times)
            os.kill(phone.worker.pid, signal.SIGKILL)
            await phone.state(S.RECONNECTING, times)
            await phone.transport.stop()
            await phone.start()
        assert await phone.state(S.FAILED) == "worker_crashes"


# --- hangs and leaks ---


async def test_a_worker_that_hangs_is_killed(tmp_path: Path, templates: Templates) -> None:
    async with world(tmp_path / "web", hang_after=5.0) as web:
        phone = await web.phone().linked(templates)
        worker = phone.worker
        os.kill(worker.pid, signal.SIGSTOP)
        await again(phone)
        assert worker.gone.result() == "hung"


async def test_a_worker_that_grew_is_exchanged_without_losing_a_send(web: World, two: tuple[Phone, Phone]) -> None:
    first, second = two
    old = first.worker

    def grow() -> bool:
        old.rss = 600 * 1024**2  # until its next beat
        return first.upside.states[-1] is not S.CONNECTED

    await eventually(grow, within=WITHIN)
    await asyncio.gather(first.connected(times=2), second.connected(times=2))
    assert first.upside.states[1:] == [S.DEGRADED, S.CONNECTED]
    assert first.worker is not old
    for phone in two:
        await phone.transport.send(phone.message(text=phone.name))
    assert {text_of(message) for message in await web.arrived(2)} == {"con_1", "con_2"}
    await eventually(old.gone.done, within=WITHIN)
    assert old.gone.result() == "stopped"


async def test_a_worker_without_accounts_ends(tmp_path: Path, templates: Templates) -> None:
    async with world(tmp_path / "web", idle_for=0.1) as web:
        phone = await web.phone().linked(templates)
        worker = phone.worker
        await phone.transport.stop()
        await eventually(worker.gone.done, within=WITHIN)
        assert web.pool._homes == []


async def test_more_accounts_than_the_default_pool_has_threads_share_a_worker(web: World, templates: Templates) -> None:
    """Each connection blocks a thread of the worker for as long as it lives."""
    phones = [web.phone(f"con_{n}", USER) for n in range(10)]
    await asyncio.gather(*(phone.linked(templates) for phone in phones))
    assert len({phone.worker.pid for phone in phones}) == 1
    health = await asyncio.gather(*(phone.transport.health() for phone in phones))
    assert all(answer.alive for answer in health)


# --- what it is started with, and what it prints ---


async def test_a_worker_gets_nothing_of_the_daemons_secrets(
    web: World, templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "s3cret")
    monkeypatch.setenv("ZAPD_REDIS__PASSWORD", "s3cret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/s3cret")
    phone = await web.phone().linked(templates)
    environment = Path(f"/proc/{phone.worker.pid}/environ").read_text()
    assert "s3cret" not in environment
    assert "PATH=" in environment


async def test_what_cannot_run_here_fails_the_session_and_says_why(tmp_path: Path, templates: Templates) -> None:
    async with world(tmp_path / "web") as web:
        phone = web.phone()
        templates.give(phone)
        no_library = "import sys; sys.modules['neonize'] = None; import runpy; sys.argv[0] = 'x';"
        no_library += "runpy.run_module('zapd.whatsapp.web.worker', run_name='__main__')"
        web.pool._command = [sys.executable, "-c", no_library]
        await phone.start()
        reason = await phone.state(S.FAILED)
        assert reason
        assert reason.startswith("cannot run: ")
        assert "neonize" in reason


async def test_a_command_that_is_not_there_fails_the_session(tmp_path: Path, templates: Templates) -> None:
    async with world(tmp_path / "web") as web:
        phone = web.phone()
        templates.give(phone)
        web.pool._command = ["/no/such/program"]
        await phone.start()
        assert "cannot run" in str(await phone.state(S.FAILED))


async def test_no_worker_is_left_when_the_daemon_was_killed(tmp_path: Path, templates: Templates) -> None:
    script = "import os, socket, subprocess, sys, time\n"
    script += "ours, theirs = socket.socketpair()\n"
    script += "child = subprocess.Popen([*sys.argv[1:], str(theirs.fileno()), '1'], pass_fds=[theirs.fileno()])\n"
    script += "theirs.close(); print(child.pid, ours.recv(100), flush=True); time.sleep(100)\n"
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, sys.executable, "-m", "zapd.whatsapp.web.worker", stdout=asyncio.subprocess.PIPE
    )
    assert daemon.stdout
    async with asyncio.timeout(WITHIN):
        pid = int((await daemon.stdout.readline()).split()[0])
    daemon.kill()
    await daemon.wait()
    await eventually(lambda: not Path(f"/proc/{pid}").exists() or _is_dead(pid), within=WITHIN)


def _is_dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
