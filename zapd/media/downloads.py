"""Downloads what contacts sent, as jobs of media:download: the message came first, its file follows."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson

from zapd.announce import Announcer
from zapd.jobs.job import Discard, Done, Job, Outcome, Retry, Snooze
from zapd.media.files import Files, Kept, TooLarge
from zapd.media.links import Links
from zapd.media.metrics import MediaMetrics
from zapd.media.sniff import mime_of
from zapd.model.media import Media, MediaState
from zapd.model.message import Message
from zapd.model.webhook import Severity
from zapd.store.commands import Change, Row
from zapd.store.media import MediaStore
from zapd.whatsapp.transport import (
    NotConnected,
    PauseNewContacts,
    PauseSession,
    Permanent,
    RemoteMedia,
    RetryAt,
    SendError,
)

DOWNLOAD = "media:download"
LOOK_AGAIN = 30.0  #: seconds until a download looks whether its session is back
BELIEVE_AFTER = 3  #: tries; providers say "not there" of a file that is there a moment later

Download = Callable[[str, str, RemoteMedia], AsyncIterator[bytes]]


class Downloads:
    """`download(tenant, connection_id, media)` is the transport's."""

    def __init__(
        self,
        *,
        store: MediaStore,
        files: Files,
        links: Links,
        download: Download,
        announcer: Announcer,
        commit: Callable[..., Awaitable[Row | None]],
        new_id: Callable[[str], str],
        now_ms: Callable[[], int],
        priority: int,
        max_size: int,
        metrics: MediaMetrics,
    ) -> None:
        self._store = store
        self._files = files
        self._links = links
        self._download = download
        self._announcer = announcer
        self._commit = commit
        self._new_id = new_id
        self._now_ms = now_ms
        self._priority = priority
        self._max_size = max_size
        self._metrics = metrics

    def expected(self, message: Message, remote: RemoteMedia) -> tuple[Media, list[Change], Job]:
        """The record of a message's file, what to commit with the message, and the job that fetches it."""
        now = self._now_ms()
        item = Media(
            tenant=message.tenant,
            id=self._new_id("med"),
            connection_id=message.connection_id,
            state=MediaState.PENDING,
            mime=(remote.mime or "application/octet-stream").partition(";")[0].strip(),
            size=remote.size or 0,
            filename=remote.filename,
            remote=_kept(remote),
            created_at=now,
            kept_from=now,
        )
        changes = [self._store.added(item), self._store.used(message.tenant, message.id, item.id)]
        return item, changes, self._job(item, message.id, now)

    def shown(self, item: Media) -> dict[str, Any]:
        """What an event says of a file. Its link works as soon as the file is here."""
        link = self._links.make(item.tenant, item.id)
        return {
            "id": item.id,
            "state": item.state,
            "mime": item.mime,
            "size": item.size or None,
            "sha256": item.sha256,
            "filename": item.filename,
            "url": link.url,
            "url_expires_at": link.expires_at,
        }

    # --- the handler ---

    async def run(self, job: Job) -> Outcome:
        """Fetch one file. Safe to run again."""
        body = orjson.loads(job.payload)
        item = await self._store.get(job.tenant, body["media_id"])
        if item is None or item.state is MediaState.READY or item.remote is None:
            return Done()
        if item.state is MediaState.FAILED:  # a person retries the dead letter
            await self._commit(self._store.pending_again(item.tenant, item.id))
        remote = _remote(item)
        try:
            chunks = self._download(job.tenant, body["connection_id"], remote)
            kept = await self._files.keep(chunks, limit=self._max_size)
        except TooLarge as error:
            return Discard("too_large", str(error))
        except SendError as error:
            return _after(error, job)
        if remote.sha256 not in (None, kept.sha256):
            return Retry("the content is not the one that was announced")
        await self._settle(item, kept, body["message_id"])
        return Done()

    async def dead(self, job: Job, reason: str, error: str) -> None:
        """The file will not come: its message says so."""
        body = orjson.loads(job.payload)
        item = await self._store.get(job.tenant, body["media_id"])
        if item is None:
            return
        failed = self._store.failed(item.tenant, item.id, mime=item.mime, size=item.size, error=f"{reason}: {error}")
        media = {"id": item.id, "state": MediaState.FAILED, "error": {"code": reason, "detail": error}}
        self._metrics.refused("received")
        await self._announced(failed, item, body["message_id"], media, severity=Severity.WARNING)

    async def _settle(self, item: Media, kept: Kept, message_id: str) -> None:
        mime = mime_of(kept.head, item.mime)
        ready = self._store.ready(item.tenant, item.id, mime=mime, size=kept.size, sha256=kept.sha256)
        media = self.shown(item) | {
            "state": MediaState.READY,
            "mime": mime,
            "size": kept.size,
            "sha256": kept.sha256,
        }
        if await self._announced(ready, item, message_id, media):
            self._metrics.stored("received", kept.size)

    async def _announced(
        self, change: Change, item: Media, message_id: str, media: Any, *, severity: Severity = Severity.INFO
    ) -> bool:
        event = self._announcer.announce(
            "message.media",
            tenant=item.tenant,
            at=self._now_ms(),
            data={"message_id": message_id, "media": media},
            connection_id=item.connection_id,
            message_id=message_id,
            severity=severity,
        )
        return await self._commit(change, *event.changes, jobs=event.jobs) is not None

    def _job(self, item: Media, message_id: str, now: int) -> Job:
        payload = {"media_id": item.id, "connection_id": item.connection_id, "message_id": message_id}
        return Job(
            id=self._new_id("job"),
            queue=DOWNLOAD,
            payload=orjson.dumps(payload),
            priority=self._priority,
            created_at=now,
            tenant=item.tenant,
        )


def _after(error: SendError, job: Job) -> Outcome:
    match error:
        case NotConnected() | PauseSession() | PauseNewContacts():
            return Snooze(LOOK_AGAIN)
        case RetryAt(wait=float() | int() as wait):
            return Snooze(wait)
        case Permanent() if job.attempt > BELIEVE_AFTER or error.code == "unsupported":
            return Discard(error.code, error.detail)
    return Retry(str(error))


def _kept(remote: RemoteMedia) -> bytes:
    fields = {"mime": remote.mime, "size": remote.size, "sha256": remote.sha256, "filename": remote.filename}
    return orjson.dumps({"reference": remote.reference.decode(), **fields})


def _remote(item: Media) -> RemoteMedia:
    assert item.remote is not None
    told = orjson.loads(item.remote)
    return RemoteMedia(**{**told, "reference": told["reference"].encode()})
