"""Whose pace a request counts on, and where its key stands."""

from ipaddress import ip_network
from typing import Any, cast
from unittest import mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from tests.support.stand_in import now_ms
from zapd.errors import Unauthorized
from zapd.model.access import ApiKey, Scope
from zapd.web.auth import Access, key_of
from zapd.web.limits import Pace
from zapd.web.problems import PaceExceeded
from zapd.web.route import Route

KEY = ApiKey(
    tenant="default",
    id="key_1",
    hash=b"",
    label="",
    scopes=frozenset({Scope.READ}),
    connection_id=None,
    created_at=now_ms(),
)


async def nobody_hears(_request: web.Request, _address: str) -> None:
    pass


class OneToken:
    """A keyring that knows the token `right`."""

    def remembered(self, token: str) -> ApiKey | None:
        return None

    async def find(self, token: str) -> ApiKey | None:
        return KEY if token == "right" else None


async def _handler(_: web.Request) -> web.Response:
    return web.Response()


ROUTE = Route("GET", "/", _handler, Scope.READ)


def access(*, wrong_keys: int = 100, proxies: tuple[str, ...] = ()) -> Access:
    def still() -> float:
        return 0.0

    free = Pace(rate=0, burst=1, clock=still)
    return Access(
        keyring=cast(Any, OneToken()),
        per_key=free,
        per_tenant=free,
        per_address=free,
        denied=nobody_hears,
        wrong_keys=Pace(rate=1, burst=wrong_keys, clock=still),
        trusted_proxies=[ip_network(proxy) for proxy in proxies],
    )


def request(*headers: tuple[str, str], peer: str = "203.0.113.1") -> web.Request:
    transport = mock.Mock()
    transport.get_extra_info.return_value = (peer, 1)
    return make_mocked_request("GET", "/", CIMultiDict(headers), transport=transport)


@pytest.mark.parametrize(
    "header", [("Authorization", "Bearer right"), ("authorization", "bearer  right "), ("X-Api-Key", "right")]
)
async def test_a_key_comes_as_bearer_or_as_x_api_key(header: tuple[str, str]) -> None:
    asked = request(header)
    await access().admit(asked, ROUTE)
    assert key_of(asked) is KEY


async def test_an_empty_authorization_leaves_the_word_to_x_api_key() -> None:
    asked = request(("Authorization", ""), ("X-Api-Key", "right"))
    await access().admit(asked, ROUTE)
    assert key_of(asked) is KEY


@pytest.mark.parametrize("header", [("Authorization", "right"), ("Authorization", "Basic right"), ("X-Key", "right")])
async def test_a_key_in_another_place_is_no_key(header: tuple[str, str]) -> None:
    with pytest.raises(Unauthorized):
        await access().admit(request(header), ROUTE)


async def wrong(door: Access, *headers: tuple[str, str], peer: str = "203.0.113.1") -> type[Exception]:
    with pytest.raises((Unauthorized, PaceExceeded)) as raised:
        await door.admit(request(("X-Api-Key", "wrong"), *headers, peer=peer), ROUTE)
    return raised.type


async def test_wrong_keys_are_counted_for_each_address() -> None:
    door = access(wrong_keys=2)
    assert [await wrong(door) for _ in range(3)] == [Unauthorized, Unauthorized, PaceExceeded]
    assert await wrong(door, peer="203.0.113.2") is Unauthorized


async def test_nobody_locks_out_a_right_key_by_wrong_ones_from_the_same_address() -> None:
    door = access(wrong_keys=1)
    assert [await wrong(door) for _ in range(2)] == [Unauthorized, PaceExceeded]
    asked = request(("X-Api-Key", "right"))
    await door.admit(asked, ROUTE)
    assert key_of(asked) is KEY


async def test_behind_a_trusted_proxy_the_clients_own_address_counts() -> None:
    door = access(wrong_keys=1, proxies=("10.0.0.0/8",))
    for client in ("198.51.100.1", "198.51.100.2"):
        assert await wrong(door, ("X-Forwarded-For", client), peer="10.0.0.1") is Unauthorized
    assert await wrong(door, ("X-Forwarded-For", "198.51.100.1"), peer="10.0.0.1") is PaceExceeded


async def test_a_client_cannot_choose_its_address() -> None:
    # The proxy appends what it saw, to the same header or in a second one; what stands before came from the client.
    door = access(wrong_keys=1, proxies=("10.0.0.0/8",))
    seen = ("X-Forwarded-For", "198.51.100.1")
    assert await wrong(door, ("X-Forwarded-For", "192.0.2.1, 198.51.100.1"), peer="10.0.0.1") is Unauthorized
    assert await wrong(door, ("X-Forwarded-For", "192.0.2.2"), seen, peer="10.0.0.1") is PaceExceeded
    assert await wrong(door, ("X-Forwarded-For", "192.0.2.3"), seen, peer="10.0.0.1") is PaceExceeded


async def test_without_trusted_proxies_the_header_says_nothing() -> None:
    door = access(wrong_keys=1)
    assert await wrong(door, ("X-Forwarded-For", "192.0.2.1")) is Unauthorized
    assert await wrong(door, ("X-Forwarded-For", "192.0.2.2")) is PaceExceeded
