"""Refused inbound webhooks: kept for a while, sealed, so that they can be taken in once the secret or rule is right."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
import structlog

from zapd.errors import Conflict, NotFound, Unavailable
from zapd.events.call import Call, Rejected
from zapd.events.ingest import Ingest, Taken
from zapd.events.registry import Registry, source_of
from zapd.ids import Ids
from zapd.model.hub import DefinitionKind, Quarantined
from zapd.store.commands import Change, Row
from zapd.store.quarantine import QuarantineStore

log = structlog.get_logger("zapd.events")

MAX_BODY = 256 * 1024  #: bytes; of a longer body only the fact is kept
MAX_DETAIL = 500


class Quarantine:
    """Keeps refused calls, at most `keep` of one source. `ingest()` is asked for when a call is tried again."""

    def __init__(
        self,
        *,
        rows: QuarantineStore,
        registry: Registry,
        ingest: Callable[[], Ingest],
        commit: Callable[..., Awaitable[Row | None]],
        ids: Ids,
        now_ms: Callable[[], int],
        keep: int,
    ) -> None:
        self._rows = rows
        self._registry = registry
        self._ingest = ingest
        self._commit = commit
        self._ids = ids
        self._now_ms = now_ms
        self._keep = keep

    async def keep(self, tenant: str, source: str, call: Call, error: Rejected) -> None:
        """Keep a refused call. Never raises: the caller is told the refusal, whatever happens here."""
        row = Quarantined(
            tenant=tenant,
            id=self._ids.new("qrn"),
            source=source,
            check=error.check,
            detail=str(error)[:MAX_DETAIL],
            size=len(call.raw),
            sealed=_packed(call) if len(call.raw) <= MAX_BODY else b"",
            received_at=self._now_ms(),
        )
        try:
            await self._commit(self._rows.kept(row))
            for old in await self._rows.beyond(tenant, source, self._keep):
                await self._commit(self._rows.gone(tenant, old))
        except Unavailable as away:
            log.warning("quarantine.not_kept", source=source, check=error.check, reason=str(away))

    async def retry(self, tenant: str, quarantine_id: str) -> Taken:
        """Verify a refused call by today's rules, at the time when it came, and take it in.

        Raises NotFound, Conflict when its body was too large to keep, Rejected when it is still refused.
        """
        row = await self._existing(tenant, quarantine_id)
        entry = self._registry.get(tenant, DefinitionKind.SOURCE, row.source)
        if entry is None:
            raise Conflict(f"there is no source {row.source} any more")
        if not row.sealed:
            raise Conflict("its body was too large to keep")
        call = unpacked(row.sealed)
        ingest = self._ingest()
        ingest.verified(entry, call, row.received_at)
        if len(call.raw) > source_of(entry).body_limit:
            raise Rejected("body", "the body is larger than the source's limit")
        taken = await ingest.keep(entry, call)
        # After the event is kept: a crash in between leaves a row whose next try finds a repeat.
        await self._commit(self._rows.gone(tenant, quarantine_id))
        return taken

    async def drop(self, tenant: str, quarantine_id: str) -> None:
        """Throw one away. Raises NotFound."""
        gone: Change = self._rows.gone(tenant, quarantine_id)
        if await self._commit(gone) is None:
            raise NotFound(f"there is no quarantined call {quarantine_id}")

    async def listed(self, tenant: str, *, source: str | None, after: str | None, limit: int) -> Sequence[Quarantined]:
        """A page, the oldest first."""
        return await self._rows.listed(tenant, source=source, after=after, limit=limit)

    async def show(self, tenant: str, quarantine_id: str) -> Quarantined:
        """One. Raises NotFound."""
        return await self._existing(tenant, quarantine_id)

    async def _existing(self, tenant: str, quarantine_id: str) -> Quarantined:
        row = await self._rows.get(tenant, quarantine_id)
        if row is None:
            raise NotFound(f"there is no quarantined call {quarantine_id}")
        return row


def _packed(call: Call) -> bytes:
    raw = base64.b64encode(call.raw).decode()
    headers = [[name, value.encode("utf-8", "replace").decode()] for name, value in call.headers]
    return orjson.dumps({"headers": headers, "query": dict(call.query), "raw": raw, "remote": call.remote})


def unpacked(sealed: bytes) -> Call:
    """The call as it came."""
    kept: dict[str, Any] = orjson.loads(sealed)
    return Call(
        headers=tuple((name, value) for name, value in kept["headers"]),
        query=kept["query"],
        raw=base64.b64decode(kept["raw"]),
        remote=kept["remote"],
    )
