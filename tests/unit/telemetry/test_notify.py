"""Notes to systemd: sent as one datagram, dropped without systemd, never blocking."""

import os
import socket
from pathlib import Path

from zapd.telemetry.notify import Notifier


def test_notes_go_out_in_one_datagram(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        notifier = Notifier(address=str(tmp_path / "notify"))
        assert notifier.send("READY=1", "STATUS=ready")
        assert systemd.recv(100) == b"READY=1\nSTATUS=ready"
        notifier.close()


def test_an_abstract_name_starts_with_an_at_sign() -> None:
    name = f"zapd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        notifier = Notifier(address=f"@{name}")
        assert notifier.send("STOPPING=1")
        assert systemd.recv(100) == b"STOPPING=1"
        notifier.close()


def test_the_variables_are_taken_away_from_children() -> None:
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    notifier = Notifier.from_environment(environ)
    assert notifier.watchdog_every == 10.0
    assert environ == {"HOME": "/"}
    notifier.close()


def test_a_watchdog_meant_for_another_process_is_not_ours() -> None:
    assert Notifier.from_environment({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_every is None


def test_without_systemd_notes_are_dropped() -> None:
    notifier = Notifier.from_environment({})
    assert notifier.watchdog_every is None
    assert not notifier.send("READY=1")
    notifier.close()


def test_a_systemd_that_does_not_listen_is_no_error(tmp_path: Path) -> None:
    notifier = Notifier(address=str(tmp_path / "gone"))
    assert not notifier.send("READY=1")
    notifier.close()
    notifier.close()
    assert not notifier.send("READY=1")


def test_a_full_systemd_does_not_block(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        notifier = Notifier(address=str(tmp_path / "notify"))
        assert not all(notifier.send("WATCHDOG=1") for _ in range(1_000))
        notifier.close()
