"""What the process decides before its parts start."""

import socket
from pathlib import Path

import pytest

from zapd.daemon import safe
from zapd.errors import ConfigError


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
