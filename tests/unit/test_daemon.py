"""What the process decides before its parts start."""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from zapd import daemon
from zapd.config import Config
from zapd.config.sections import StateConfig
from zapd.daemon import safe
from zapd.errors import ConfigError, Unavailable
from zapd.telemetry.notify import Notifier


class FakeApp:
    """What `Daemon` asks of the app. `on_start` is what happens while it starts."""

    on_start: ClassVar[Callable[["FakeApp"], None]]
    closed: ClassVar[int] = 0

    def __init__(self, *, on_failed: Callable[[str, str], None], **_: Any) -> None:
        self.failed = on_failed
        self.lifecycle = SimpleNamespace(
            start=self.start, close=self.close, stop=self.stop, pause=None, resume=None, turns=0, draining=False
        )

    async def start(self, _: Any) -> None:
        type(self).on_start(self)

    async def close(self) -> None:
        type(self).closed += 1

    async def stop(self, **_: Any) -> None:
        await asyncio.sleep(0)

    def summary(self) -> str:
        return "running"


def fails(error: Exception) -> Callable[[FakeApp], None]:
    def start(_: FakeApp) -> None:
        raise error

    return start


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a daemon sets for its whole process stays as it is: the other tests run in this one too."""
    for of, name in ((gc, "freeze"), (gc, "set_threshold"), (sys, "setswitchinterval"), (os, "umask")):
        monkeypatch.setattr(of, name, lambda *_: None)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("on_start", "code", "closed"),
    [
        (lambda _: os.kill(os.getpid(), signal.SIGTERM), 0, 0),
        (lambda _: os.kill(os.getpid(), signal.SIGINT), 0, 0),
        (fails(OSError("address already in use")), 69, 1),
        (fails(Unavailable("SQL is away")), 69, 1),
        (fails(RuntimeError("a bug")), 70, 1),
        (lambda app: app.failed("cron", "RuntimeError: a bug"), 75, 0),
        (fails(ConfigError("redis.binary = there is no such program")), 78, 1),
    ],
)
def test_the_exit_code_says_why_it_ended(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    on_start: Callable[[FakeApp], None],
    code: int,
    closed: int,
) -> None:
    config = Config(state=StateConfig(dir=tmp_path))

    class App(FakeApp):
        pass

    App.on_start = on_start
    monkeypatch.setattr(daemon, "App", App)

    assert daemon.run(config, reload=lambda: config) == code
    assert App.closed == closed  # nothing that was started stays behind


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_socket_of_systemds_that_strangers_reach_is_refused_while_listen_says_loopback(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((address, 0))

        with pytest.raises(ConfigError, match=r"http\.listen"):
            safe([listener], loopback_only=True)

        assert safe([listener], loopback_only=False) == [listener]


def test_sockets_of_this_machine_fit_a_listen_on_loopback(tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_INET6) as six, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        six.bind(("::1", 0))
        unix.bind(str(tmp_path / "s"))

        assert safe([tcp, six, unix], loopback_only=True) == [tcp, six, unix]


@pytest.mark.usefixtures("alone")
def test_a_wrong_key_file_is_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "data.key").write_text("zz")
    with pytest.raises(ConfigError, match="must hold keys in hex"):  # the command line makes it 78
        daemon.run(Config(state=StateConfig(dir=tmp_path)), reload=Config)


class Patient(FakeApp):
    """Takes a while to start and to drain."""

    async def start(self, _: Any) -> None:
        await asyncio.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    async def stop(self, **_: Any) -> None:
        self.lifecycle.draining = True
        await asyncio.sleep(0.1)


@pytest.mark.usefixtures("alone")
def test_systemd_waits_for_a_long_start_and_hears_the_watchdog_in_a_long_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "App", Patient)
    monkeypatch.setattr(daemon, "STATUS_EVERY", 0.01)
    monkeypatch.setattr(daemon, "STUCK_AFTER", 0.02)
    told: list[str] = []
    monkeypatch.setattr(Notifier, "send", lambda _, *notes: told.extend(notes))
    config = Config(state=StateConfig(dir=tmp_path))
    assert daemon.run(config, reload=lambda: config) == 0
    before, _, after = " ".join(told).partition("READY=1")
    assert before.count("EXTEND_TIMEOUT_USEC=") > 1
    assert "READY" not in after
    _, _, after = after.partition("STOPPING=1")
    assert after.count("WATCHDOG=1") > 3  # the dispatcher stands still, as it should
