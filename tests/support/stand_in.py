"""The web alone, on parts that answer at once and keep nothing: for measuring what the web costs."""

import asyncio
import os
import time
from typing import Any, cast

from aiohttp import web
from prometheus_client import CollectorRegistry

from zapd.ids import Ids
from zapd.messaging.submit import Submit, Submitted
from zapd.model.access import ApiKey, Scope
from zapd.telemetry.metrics import HttpMetrics
from zapd.web import dependencies as need
from zapd.web.application import build
from zapd.web.auth import Access
from zapd.web.dependencies import given
from zapd.web.keyring import Keyring
from zapd.web.limits import Pace


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class NoTrail:
    """Notes nothing."""

    async def denied(self, *_: object) -> None: ...
    async def called(self, *_: object) -> None: ...


class InstantMessaging:
    """Accepts every message and forgets it."""

    async def submit(self, request: Submit) -> Submitted:
        return Submitted(id="msg_01J9Z3K5T8000000000000000", job_id="job_01J9Z3K5T8000000000000000")


class OneKey:
    """A store that holds one key in memory."""

    def __init__(self) -> None:
        self.key: ApiKey | None = None

    def added(self, key: ApiKey) -> Any:
        self.key = key

    def used(self, tenant: str, key_id: str, at: int) -> Any:
        pass

    async def by_hash(self, digest: bytes) -> ApiKey | None:
        return self.key


async def commit(*changes: Any) -> None:
    """Keeps nothing."""


async def stand_in_site() -> tuple[web.Application, str]:
    """The application and the token that opens it."""
    ids = Ids(clock_ms=now_ms, random_bytes=os.urandom)
    rows = cast(Any, OneKey())
    keyring = Keyring(rows=rows, commit=commit, ids=ids, random_bytes=os.urandom, now_ms=now_ms, clock=time.monotonic)
    _, token = await keyring.create(tenant="default", label="bench", scopes=frozenset({Scope.SEND}))
    pace = Pace(rate=1e6, burst=1_000_000, clock=time.monotonic)
    audit = cast(Any, NoTrail())
    access = Access(
        keyring=keyring,
        per_key=pace,
        per_tenant=pace,
        per_address=pace,
        wrong_keys=pace,
        denied=audit.denied,
    )
    app = build(
        given=[
            given(need.MESSAGING, cast(Any, InstantMessaging())),
            given(need.KEYRING, keyring),
            given(need.COMMIT, commit),
            given(need.NOW_MS, now_ms),
        ],
        access=access,
        audit=audit,
        metrics=HttpMetrics(registry=CollectorRegistry()),
        ids=ids,
        draining=asyncio.Event(),
        open_metrics=True,
        body_limit=1024**2,
    )
    return app, token
