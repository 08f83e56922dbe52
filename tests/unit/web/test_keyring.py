"""The keyring over a store in memory, as the real one behaves; the real one is used in tests/integration/web."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from tests.support import FakeClock, make_ids
from zapd.errors import NotFound
from zapd.model.access import ApiKey, Scope
from zapd.web.keyring import REMEMBERED, USE_NOTED_EVERY, Keyring


class Rows:
    """Keys in a dict. A change is a function that does it."""

    def __init__(self) -> None:
        self.keys: dict[str, ApiKey] = {}
        self.asked = 0
        self.uses = 0

    def added(self, key: ApiKey) -> Any:
        return lambda: self.keys.update({key.id: key})

    def revoked(self, tenant: str, key_id: str, at: int) -> Any:
        return lambda: self.keys.update({key_id: replace(self.keys[key_id], revoked_at=at)})

    def expiring(self, tenant: str, key_id: str, at: int) -> Any:
        return lambda: self.keys.update({key_id: replace(self.keys[key_id], expires_at=at)})

    def used(self, tenant: str, key_id: str, at: int) -> Any:
        def note() -> None:
            self.uses += 1
            self.keys[key_id] = replace(self.keys[key_id], last_used_at=at)

        return note

    async def by_hash(self, digest: bytes) -> ApiKey | None:
        self.asked += 1
        return next((key for key in self.keys.values() if key.hash == digest), None)

    async def get(self, tenant: str, key_id: str) -> ApiKey | None:
        return self.keys.get(key_id)

    async def listed(self, tenant: str, *, after: str | None, limit: int) -> list[ApiKey]:
        return list(self.keys.values())


async def commit(*changes: Any) -> Any:
    for change in changes:
        change()


class Bench:
    """A keyring, what it stands on, and one key that it made."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.clock = FakeClock()
        self.keyring = Keyring(
            rows=self.rows,
            commit=commit,
            ids=make_ids(self.clock.now_ms),
            random_bytes=lambda count: bytes(range(count)),
            now_ms=self.clock.now_ms,
            clock=lambda: self.clock.value / 1000,
        )

    async def made(self, **more: Any) -> tuple[ApiKey, str]:
        return await self.keyring.create(tenant="default", label="x", scopes=frozenset({Scope.READ}), **more)


async def test_only_the_hash_of_a_token_is_stored() -> None:
    bench = Bench()
    key, token = await bench.made()
    assert key.hash == hashlib.sha256(token.encode()).digest()
    assert token not in repr(bench.rows.keys)


async def test_a_found_key_is_remembered_and_the_store_is_asked_once() -> None:
    bench = Bench()
    key, token = await bench.made()
    assert bench.keyring.remembered(token) is None
    assert (await bench.keyring.find(token)) is not None
    found = bench.keyring.remembered(token)
    assert (found and found.id, bench.rows.asked) == (key.id, 1)


async def test_a_remembered_key_is_asked_for_again_after_a_while() -> None:
    bench = Bench()
    _, token = await bench.made()
    await bench.keyring.find(token)
    bench.clock.advance(REMEMBERED + 0.1)
    assert bench.keyring.remembered(token) is None


async def test_an_unknown_token_is_not_remembered() -> None:
    bench = Bench()
    assert await bench.keyring.find("zapd_guess") is None
    assert bench.keyring.remembered("zapd_guess") is None


async def test_a_revoked_key_opens_nothing_at_once() -> None:
    bench = Bench()
    key, token = await bench.made()
    await bench.keyring.find(token)
    await bench.keyring.revoke("default", key.id)
    assert bench.keyring.remembered(token) is None
    assert await bench.keyring.find(token) is None


async def test_a_key_ends_when_it_expires_though_it_is_remembered() -> None:
    bench = Bench()
    _, token = await bench.made(expires_at=bench.clock.now_ms() + 1000)
    await bench.keyring.find(token)
    bench.clock.advance(1.0)
    assert bench.keyring.remembered(token) is None
    assert await bench.keyring.find(token) is None


async def test_revoking_what_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound):
        await Bench().keyring.revoke("default", "key_none")


async def test_a_use_is_noted_once_in_a_while() -> None:
    bench = Bench()
    _, token = await bench.made()
    for _ in range(3):
        await bench.keyring.find(token)
    assert bench.rows.uses == 1
    bench.clock.advance(USE_NOTED_EVERY / 1000)
    await bench.keyring.find(token)
    assert bench.rows.uses == 2
