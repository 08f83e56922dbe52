"""A signed ping: evidence that a receiver holds the newest secret before the old one is dropped.

Two POSTs: one signed with the newest secrets alone, which must be taken, and one signed with a key that nobody knows,
which must not be. A receiver that takes both checks nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import orjson

from zapd.ids import Ids
from zapd.model.webhook import Endpoint, Secret
from zapd.webhooks.client import Answer, Client
from zapd.webhooks.signature import PRIVATE, new_secret, sign

PING = "ping"


@dataclass(frozen=True, slots=True)
class Pinged:
    """What came of it."""

    message_id: str
    right: Answer  #: to the ping signed with the newest secrets alone
    wrong: Answer  #: to the one signed with an unknown key

    @property
    def taken(self) -> bool:
        """It took the right one."""
        return self.right.failure is None

    @property
    def verifies(self) -> bool:
        """It refused the wrong one, by its own decision and not because it was away."""
        return self.wrong.failure is not None and self.wrong.status is not None

    @property
    def proven(self) -> bool:
        """It holds the newest secrets."""
        return self.taken and self.verifies


class Pinger:
    """Pings endpoints; stores nothing."""

    def __init__(
        self,
        *,
        client: Client,
        ids: Ids,
        now_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        iso: Callable[[int], str],
    ) -> None:
        self._client = client
        self._ids = ids
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._iso = iso

    async def ping(self, endpoint: Endpoint) -> Pinged:
        """Two POSTs at once. Never raises for what the receiver does."""
        now = self._now_ms()
        message_id = self._ids.new("evt")
        body = orjson.dumps(
            {
                "id": message_id,
                "type": PING,
                "timestamp": self._iso(now),
                "connection_id": None,
                "data": {"endpoint_id": endpoint.id},
            }
        )
        unknown = [new_secret(self._random_bytes)]
        right, wrong = await asyncio.gather(
            self._post(endpoint, newest(endpoint), message_id, body),
            self._post(endpoint, unknown, self._ids.new("evt"), body),
        )
        return Pinged(message_id, right, wrong)

    async def _post(self, endpoint: Endpoint, secrets: list[str], message_id: str, body: bytes) -> Answer:
        seconds = self._now_ms() // 1000
        headers = [
            ("webhook-id", message_id),
            ("webhook-timestamp", str(seconds)),
            ("webhook-signature", sign(secrets=secrets, message_id=message_id, timestamp=seconds, body=body)),
            ("X-ZapHub-Event", PING),
            *endpoint.headers,
        ]
        return await self._client.post(endpoint.url, headers=headers, body=body, tenant=endpoint.tenant)


def newest(endpoint: Endpoint) -> list[str]:
    """The newest secret of each kind: those that stay when the old ones are dropped."""
    kinds: dict[bool, str] = {}
    for secret in endpoint.secrets:
        kinds.setdefault(secret.value.startswith(PRIVATE), secret.value)
    return list(kinds.values())


def proven(endpoint: Endpoint, at: int) -> Endpoint:
    """The endpoint with the evidence noted on its newest secrets."""
    kept = set(newest(endpoint))
    return replace(
        endpoint, secrets=tuple(replace(s, proven_at=at) if s.value in kept else s for s in endpoint.secrets)
    )


def without_old(endpoint: Endpoint) -> Endpoint:
    """The endpoint with its newest secrets only."""
    kept = set(newest(endpoint))
    return replace(
        endpoint,
        secrets=tuple(Secret(value=s.value, proven_at=s.proven_at) for s in endpoint.secrets if s.value in kept),
    )


def is_proven(endpoint: Endpoint) -> bool:
    """Whether a ping showed that the receiver holds the newest secrets."""
    kept = set(newest(endpoint))
    return all(s.proven_at is not None for s in endpoint.secrets if s.value in kept)
