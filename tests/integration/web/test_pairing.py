"""The code to scan, while a session waits to be paired."""

import json

import pytest

from tests.support import eventually
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = '[sandbox]\npair_after = "60s"\n'


async def waiting(daemon: Daemon) -> str:
    """The path of the code of a session that waits."""
    await daemon.call("POST", "/connections", {"id": "unpaired", "label": "x", "transport": "sandbox"})

    async def shown() -> bool:
        return (await daemon.call("GET", "/connections/unpaired"))[1]["qr"] is not None

    await eventually(shown)
    return "/connections/unpaired/qr"


@pytest.mark.parametrize(
    ("accept", "start"),
    [
        ("*/*", b"\x89PNG"),
        ("image/png", b"\x89PNG"),
        ("image/svg+xml", b"<?xml"),
        ("text/plain", "█".encode()),
        ("text/html,image/svg+xml;q=0.9,*/*;q=0.8", b"<?xml"),
    ],
)
async def test_it_is_drawn_as_the_client_asks(daemon: Daemon, accept: str, start: bytes) -> None:
    status, body = await daemon.call("GET", await waiting(daemon), headers={"Accept": accept}, raw=True)
    assert status == 200
    assert body.lstrip().startswith(start)


async def test_as_json_it_says_until_when_it_is_good(daemon: Daemon) -> None:
    path = await waiting(daemon)
    _, raw = await daemon.call("GET", path, headers={"Accept": "application/json"}, raw=True)
    code = json.loads(raw)
    assert code["qr"]
    assert code["expires_at"].endswith("Z")


async def test_a_second_create_while_it_starts_gives_the_same_job(daemon: Daemon) -> None:
    await daemon.call("POST", "/queues/session:init/pause")
    body = {"id": "twice", "label": "x", "transport": "sandbox"}
    first = await daemon.call("POST", "/connections", body)
    second = await daemon.call("POST", "/connections", body)
    await daemon.call("POST", "/queues/session:init/resume")
    assert first[0] == second[0] == 202
    assert first[1]["job_id"] == second[1]["job_id"] == "session-init-twice"
