"""`zapd doctor` and `zapd doctor receiver` against the running daemon."""

import asyncio
import json

import aiohttp
import pytest

from tests.integration.web.test_cli import zapd
from tests.support.daemon import Daemon
from zapd.cli.hostile import MODES, HostileReceiver
from zapd.cli.receiver import EXPECTED, FORBIDDEN

#: Three of the receivers never answer; the others all do, and a machine that is busy must not take them for silent.
TOML = '[webhooks]\ntimeout = "8s"\n'

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_limits_hold_and_nothing_is_left_behind(daemon: Daemon) -> None:
    code, out, err = await zapd(daemon, "doctor", "receiver", "--json")
    findings = {row["check"]: row for row in json.loads(out)}
    assert (code, [row for row in findings.values() if row["result"] != "ok"]) == (0, []), err
    assert findings.keys() == {*MODES, *(f"refuses {url}" for url in FORBIDDEN), "memory", "/health meanwhile"}
    _, left = await daemon.call("GET", "/endpoints")
    assert left["data"] == []


async def test_a_running_daemon_is_healthy(daemon: Daemon) -> None:
    code, out, err = await zapd(
        daemon,
        "doctor",
        "--json",
        ZAPD_CONFIG=str(daemon.config),
        ZAPD_STATE__DIR=str(daemon.state),
        ZAPD_HTTP__LISTEN=f"127.0.0.1:{daemon.port}",
    )
    found = {row["check"]: row for row in json.loads(out)}
    assert code == 0, (err, found)
    assert found["listener"]["found"].endswith("every part up")
    assert found["Redis persistence"]["result"] == "ok"  # the embedded one was found


async def test_each_misbehaviour_has_an_end_that_is_expected() -> None:
    assert EXPECTED.keys() == MODES.keys()


async def test_the_receiver_really_misbehaves() -> None:
    """Else the doctor would find every patient healthy."""
    async with HostileReceiver() as hostile, aiohttp.ClientSession(auto_decompress=False) as http:
        for mode in ("hang", "slow-loris", "slow-body"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3), http.post(hostile.url(mode), data=b"{}") as answer:
                    await answer.read()
        for mode in ("flapping", "garbage", "endless-head"):
            with pytest.raises(aiohttp.ClientError):
                async with http.post(hostile.url(mode), data=b"{}"):
                    pass
        async with http.post(hostile.url("redirect"), data=b"{}", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"][:22]) == (302, "http://169.254.169.254")
        async with http.post(hostile.url("gzip-bomb"), data=b"{}") as answer:
            assert len(await answer.read()) < 1 << 20
        hostile.healed = True
        async with http.post(hostile.url("hang"), data=b"{}", headers={"webhook-id": "evt_1"}) as answer:
            assert answer.status == 204
        assert hostile.ids["hang"] == {"evt_1"}
