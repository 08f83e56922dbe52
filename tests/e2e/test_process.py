"""The process around the app: signals, systemd's protocol, the listener that systemd holds."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually
from tests.support.daemon import COMMAND, Daemon
from tests.support.load import arrived

FAST = '[sandbox]\npair_after = "0.05s"\nlatency = "5ms"\n'
QUEUE = '[queues."message:send"]\nconcurrency = {}\n'


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path / "state", FAST + QUEUE.format(5)) as running:
        yield running


def logged(daemon: Daemon, event: str) -> list[dict[str, Any]]:
    """The log's lines of one event."""
    return [line for line in daemon.log_lines() if line["event"] == event]


async def metric(daemon: Daemon, line: str) -> float:
    """The value of one sample of /metrics."""
    _, text = await daemon.call("GET", "/metrics", raw=True)
    (found,) = [row for row in text.decode().splitlines() if row.startswith(line + " ")]
    return float(found.rpartition(" ")[2])


async def shows(daemon: Daemon, line: str, value: float) -> None:
    """Wait until the sample has this value."""

    async def there() -> bool:
        return await metric(daemon, line) == value

    await eventually(there)


async def test_a_bug_of_zapds_own_is_in_the_log_and_in_the_exit_code(tmp_path: Path) -> None:
    broken = "from zapd import cli, daemon; daemon.App = None; raise SystemExit(cli.main())"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", broken, "run", "--state-dir", str(tmp_path)), stdout=asyncio.subprocess.PIPE
    )
    log, _ = await process.communicate()

    assert process.returncode == 70
    assert b'"event":"daemon.broken"' in log
    assert b"TypeError: 'NoneType' object is not callable" in log


@pytest.mark.parametrize("key", ["", "ab" * 32 + "\n"], ids=["gone", "another"])
async def test_it_does_not_start_without_the_key_that_sealed_its_database(tmp_path: Path, key: str) -> None:
    async with Daemon(tmp_path / "state", FAST) as daemon:
        await daemon.connect(id="main")
        body = {"to": "5511999998888", "type": "text", "payload": {"text": "sealed"}}
        assert (await daemon.call("POST", "/connections/main/send", body))[0] == 202
    file = daemon.state / "data.key"
    file.write_text(key) if key else file.unlink()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *("run", "--state-dir", str(daemon.state), "--listen", "127.0.0.1:0"), stdout=asyncio.subprocess.PIPE
    )
    log, _ = await process.communicate()

    assert process.returncode == 78
    assert b"state.data_key_file = does not hold the key" in log


# --- signals ---


async def test_hup_takes_a_new_configuration_and_keeps_the_old_one_when_the_new_is_wrong(daemon: Daemon) -> None:
    slots = 'zapd_pool_slots{queue="message:send"}'
    await shows(daemon, slots, 5)

    limits = "[limits]\nsession_per_minute = 120\nsession_burst = 3\n"
    daemon.config.write_text(FAST + QUEUE.format(7) + limits)
    daemon.signal(signal.SIGHUP)
    await eventually(lambda: logged(daemon, "config.reloaded"))
    await shows(daemon, slots, 7)
    assert await metric(daemon, "zapd_config_last_reload_successful") == 1

    daemon.config.write_text(FAST + QUEUE.format(9) + "colour = 1\n")
    daemon.signal(signal.SIGHUP)
    (kept,) = await eventually(lambda: logged(daemon, "config.kept"))
    assert "colour" in str(kept["problems"])
    await shows(daemon, "zapd_config_last_reload_successful", 0)
    assert await metric(daemon, slots) == 7

    new = '[queues."new:one"]\naction = "noop"\n[schedules.often]\nevery = "1s"\nqueue = "new:one"\n'
    daemon.config.write_text(FAST + QUEUE.format(7) + limits + new)
    daemon.signal(signal.SIGHUP)
    (later,) = await eventually(lambda: logged(daemon, "config.needs_restart"))
    assert later["keys"] == ["queues.new:one", "schedules.often"]
    assert (await daemon.call("GET", "/schedules/often"))[0] == 404  # its jobs would go nowhere

    connection = (await daemon.connect())["id"]
    its = (await daemon.call("GET", f"/connections/{connection}"))[1]["limits"]
    assert (its["per_minute"], its["burst"]) == (120, 3)
    await daemon.send(connection, "still works")
    await eventually(lambda: arrived(daemon, connection))

    rules = '[sources.late]\nverify = "api-key"\nsecret = "k"\n[routes.late]\ntypes = ["late.*"]\nactions = [{}]\n'
    daemon.config.write_text(FAST + QUEUE.format(7) + rules.format('{ kind = "deliver", target = "nowhere" }'))
    daemon.signal(signal.SIGHUP)
    await eventually(lambda: len(logged(daemon, "config.kept")) == 2)
    assert "there is no target nowhere" in str(logged(daemon, "config.kept")[1]["problems"])
    assert (await daemon.call("GET", "/sources/late"))[0] == 404
    daemon.config.write_text(FAST + QUEUE.format(7) + rules.format('{ kind = "emit", type = "x.y" }'))
    daemon.signal(signal.SIGHUP)
    await eventually(lambda: len(logged(daemon, "config.reloaded")) == 3)
    assert (await daemon.call("POST", "/hooks/late", b"{}", headers={"X-Api-Key": "k"}))[0] == 202
    assert (await daemon.call("GET", "/routes/late"))[1]["from_file"]


async def test_quit_writes_tasks_and_state_to_the_log_and_ends_nothing(daemon: Daemon) -> None:
    daemon.signal(signal.SIGQUIT)
    (state,) = await eventually(lambda: logged(daemon, "dump.state"))
    assert state["services"]["dispatcher"]["up"]
    tasks = logged(daemon, "dump.task")
    assert all(line["stack"] for line in tasks)
    assert len(tasks) > 5
    assert (await daemon.call("GET", "/health"))[0] == 200


# --- sd_notify ---


class Manager:
    """systemd's end of sd_notify."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.notes: list[dict[str, str]] = []

    def read(self) -> list[dict[str, str]]:
        """What was told so far, datagram by datagram."""
        while True:
            try:
                told = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self.notes
            self.notes.append(dict(line.split("=", 1) for line in told.splitlines()))

    def count(self, name: str) -> int:
        """How many datagrams had this note."""
        return Counter(key for note in self.read() for key in note)[name]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.socket.close()


async def test_systemd_hears_ready_then_the_watchdog_then_stopping(tmp_path: Path, manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "300000"}
    daemon = Daemon(tmp_path / "state", FAST, environ=environ)
    assert manager.count("READY") == 0
    async with daemon:
        (ready,) = [note for note in manager.read() if "READY" in note]
        assert ready["READY"] == "1"
        assert ready["STATUS"]
        await eventually(lambda: manager.count("WATCHDOG") >= 3)
        daemon.signal(signal.SIGUSR1)
        await eventually(lambda: manager.read()[-1].get("STATUS") == "running, paused: all queues")
        daemon.signal(signal.SIGUSR2)
        await eventually(lambda: manager.read()[-1].get("STATUS") == "running")
        assert await daemon.stop() == 0
        (stopping,) = [note for note in manager.read() if "STOPPING" in note]
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 30_000_000  # the drain's deadline
        assert manager.count("READY") == 1


async def test_the_watchdog_is_not_fed_by_a_process_that_stands_still(tmp_path: Path, manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "300000"}
    async with Daemon(tmp_path / "state", FAST, environ=environ) as daemon:
        await eventually(lambda: manager.count("WATCHDOG"))
        daemon.signal(signal.SIGSTOP)
        await eventually(lambda: stopped(daemon))
        fed = manager.count("WATCHDOG")
        await asyncio.sleep(0.5)  # what must not happen in this time
        assert manager.count("WATCHDOG") == fed
        daemon.signal(signal.SIGCONT)
        await eventually(lambda: manager.count("WATCHDOG") > fed)


def stopped(daemon: Daemon) -> bool:
    """Whether the kernel has stopped it."""
    assert daemon.process
    return Path(f"/proc/{daemon.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


# --- socket activation ---

AS_SYSTEMD = (
    "import os,sys; os.dup2(int(sys.argv[1]),3); os.environ.update(LISTEN_FDS='1',LISTEN_PID=str(os.getpid())); "
)
AS_SYSTEMD += "os.execv(sys.argv[2], sys.argv[2:])"


async def test_nobody_is_refused_while_the_daemon_is_replaced(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", FAST)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", daemon.port))
        listener.listen(64)
        daemon.prefix = [sys.executable, "-c", AS_SYSTEMD, str(listener.fileno())]
        daemon.pass_fds = (listener.fileno(),)
        async with daemon:
            connection = (await daemon.connect())["id"]
            assert await daemon.stop() == 0
            waiting = asyncio.create_task(daemon.send(connection, "sent while nobody was there"))
            await daemon.start()
            assert (await waiting)["status"] == "queued"
            await eventually(lambda: arrived(daemon, connection))


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd-socket-activate is not installed")
async def test_it_starts_on_the_socket_of_systemd(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "state", FAST)
    activate = shutil.which("systemd-socket-activate")
    assert activate
    daemon.prefix = [activate, "-l", f"127.0.0.1:{daemon.port}", *[f"-E{name}" for name in os.environ]]
    async with daemon:  # the first request starts it
        ready = await eventually(lambda: logged(daemon, "daemon.ready"))
        assert ready
        connection = (await daemon.connect())["id"]
        await daemon.send(connection, "m0")
        await eventually(lambda: arrived(daemon, connection))
        assert await daemon.stop() == 0


async def test_an_idle_daemon_does_without_the_library_that_seals(tmp_path: Path) -> None:
    """8 MiB: the first body, secret or login loads it; zapd's own schedules must not."""
    async with Daemon(tmp_path / "state") as daemon:

        async def has_its_schedules() -> bool:
            return bool((await daemon.call("GET", "/schedules"))[1]["data"])

        await eventually(has_its_schedules, within=15)
        assert daemon.process
        assert "cryptography" not in Path(f"/proc/{daemon.process.pid}/maps").read_text()
