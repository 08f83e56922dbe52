"""429: too much of one key, too many wrong keys."""

import aiohttp
import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[limits]
key_per_minute = 60
ip_per_minute = 100000
failed_auth_per_minute = 3
"""


async def answers(daemon: Daemon, key: str, count: int) -> list[aiohttp.ClientResponse]:
    async with aiohttp.ClientSession(headers={"X-Api-Key": key}) as http:
        return [await http.get(daemon.url + "/connections") for _ in range(count)]


async def test_wrong_keys_are_slowed_and_right_ones_are_not(daemon: Daemon) -> None:
    right = await answers(daemon, daemon.key, 1)
    wrong = await answers(daemon, "guess", 200)
    still = await answers(daemon, daemon.key, 1)
    assert [answer.status for answer in right + still] == [200, 200]
    assert {answer.status for answer in wrong} == {401, 429}
    assert wrong[-1].status == 429
    assert int(wrong[-1].headers["Retry-After"]) >= 1


async def test_a_key_beyond_its_pace_is_told_when_to_come_back(daemon: Daemon) -> None:
    last = (await answers(daemon, daemon.key, 200))[-1]
    assert last.status == 429
    assert last.content_type == "application/problem+json"
    assert {"Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} <= set(last.headers)
