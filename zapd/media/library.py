"""Takes files in, and gives messages the files that they name.

A URL is fetched when its message is accepted, not when it leaves: the caller hears at once that it answers HTML or is
too large, and a URL that dies meanwhile costs nothing. The message is stored with the `media_id` beside the `url`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from zapd.errors import Conflict, FieldError, InvalidInput
from zapd.ids import Ids
from zapd.media.fetch import Fetcher
from zapd.media.files import Files, Kept, TooLarge
from zapd.media.metrics import MediaMetrics
from zapd.media.sniff import HTML, is_voice, mime_of, moves
from zapd.model.media import Media, MediaState
from zapd.model.message import Message
from zapd.store.commands import Change, Row
from zapd.store.media import MediaStore
from zapd.whatsapp.content.media import check_file
from zapd.whatsapp.content.places import WITH_FILES, Place, places
from zapd.whatsapp.transport import MediaFile, Permanent, RetryAt

CHUNK = 256 * 1024  #: bytes that are read at once
REMEMBER = 600.0  #: seconds; a file that many messages name by one URL is fetched once
MAX_REMEMBERED = 1000  #: URLs

Commit = Callable[..., Awaitable[Row | None]]


@dataclass(frozen=True)
class Attached:
    """A payload whose files are all in zapd's keeping, and what must be committed with its message."""

    payload: bytes
    changes: tuple[Change, ...]


class Library:
    """The files of all tenants."""

    def __init__(
        self,
        *,
        store: MediaStore,
        files: Files,
        fetcher: Fetcher,
        commit: Commit,
        ids: Ids,
        now_ms: Callable[[], int],
        max_size: int,
        metrics: MediaMetrics,
    ) -> None:
        self._store = store
        self._files = files
        self._fetcher = fetcher
        self._commit = commit
        self._ids = ids
        self._now_ms = now_ms
        self._max_size = max_size
        self._metrics = metrics
        self._fetched: OrderedDict[tuple[str, str], tuple[float, asyncio.Task[Media]]] = OrderedDict()

    # --- in ---

    async def upload(
        self, tenant: str, chunks: AsyncIterator[bytes], *, mime: str | None, filename: str | None
    ) -> Media:
        """Take a file in. When this returns, it is kept. Raises InvalidInput."""
        try:
            kept = await self._files.keep(chunks, limit=self._max_size)
        except TooLarge as error:
            self._metrics.refused("upload")
            raise InvalidInput(FieldError("file", str(error))) from None
        if not kept.size:
            raise InvalidInput(FieldError("file", "is empty"))
        return await self._added(tenant, kept, origin="upload", mime=mime_of(kept.head, mime), filename=filename)

    async def fetch(self, tenant: str, url: str, *, field: str) -> Media:
        """The file at a URL; the one that was fetched a moment ago is taken again. Raises InvalidInput."""
        now = asyncio.get_running_loop().time()
        until, task = self._fetched.get((tenant, url), (0.0, None))
        before = task
        if task is None or until < now or (task.done() and (task.cancelled() or task.exception())):
            task = asyncio.create_task(self._fetch(tenant, url, field), name=f"fetch:{tenant}")
            self._fetched[tenant, url] = (now + REMEMBER, task)
            if len(self._fetched) > MAX_REMEMBERED:
                self._fetched.popitem(last=False)
        item = await asyncio.shield(task)  # another request may wait for it too
        if task is before and await self._store.get(tenant, item.id) is None:  # it was deleted meanwhile
            self._fetched.pop((tenant, url), None)
            return await self.fetch(tenant, url, field=field)
        return item

    async def _fetch(self, tenant: str, url: str, field: str) -> Media:
        try:
            async with self._fetcher.get(url, field=field) as found:
                kept = await self._files.keep(found.chunks, limit=self._max_size)
                mime, filename = mime_of(kept.head, found.mime), found.filename
            if HTML in (mime, (found.mime or "").partition(";")[0].strip().lower()):
                raise InvalidInput(FieldError(field, "answers an HTML page instead of a file"))
            if not kept.size:
                raise InvalidInput(FieldError(field, "answers an empty file"))
        except TooLarge as error:
            self._metrics.refused("url")
            raise InvalidInput(FieldError(field, str(error))) from None
        except InvalidInput:
            self._metrics.refused("url")
            raise
        return await self._added(tenant, kept, origin="url", mime=mime, filename=filename)

    async def _added(self, tenant: str, kept: Kept, *, origin: str, mime: str, filename: str | None) -> Media:
        now = self._now_ms()
        item = Media(
            tenant=tenant,
            id=self._ids.new("med"),
            state=MediaState.READY,
            mime=mime,
            size=kept.size,
            sha256=kept.sha256,
            filename=filename,
            created_at=now,
            kept_from=now,
        )
        await self._commit(self._store.added(item))
        self._metrics.stored(origin, kept.size)
        return item

    async def delete(self, item: Media) -> None:
        """Forget a file; its links open nothing any more. Raises Conflict while something needs it.

        Its content goes when no other file has the same: at once, or with a cleanup when it is less than an hour old.
        """
        if await self._commit(self._store.dropped(item.tenant, item.id)) is None:
            needs = "it is still coming in" if item.state is MediaState.PENDING else "a message that waits needs it"
            raise Conflict(f"file {item.id} cannot be deleted: {needs}")
        if item.sha256 is not None and not await self._store.known([item.sha256]):
            await self._files.drop(item.sha256)

    # --- out ---

    async def attach(
        self,
        tenant: str,
        message_id: str,
        type_: str,
        payload: bytes,
        *,
        send_at: int | None,
        of_connection: str | None = None,
    ) -> Attached:
        """Fetch and check every file that a checked payload names. Raises InvalidInput naming field, rule and limit.

        `of_connection`: what another connection got is not there for this caller.
        """
        if type_ not in WITH_FILES:
            return Attached(payload, ())
        whole: dict[str, Any] = orjson.loads(payload)
        changes: list[Change] = []
        for place in places(type_, whole):
            item = await self._item(tenant, place, of_connection)
            await self._check(place, item)
            place.holder["media_id"] = item.id
            since = max(self._now_ms(), send_at or 0)
            changes += [self._store.used(tenant, message_id, item.id), self._store.kept(tenant, item.id, since)]
        return Attached(orjson.dumps(whole), tuple(changes))

    async def read(self, tenant: str, media_id: str) -> AsyncIterator[bytes]:
        """The content of a file, in pieces. Raises a SendError when it is not there."""
        path = (await self._file(tenant, media_id)).path
        with await asyncio.to_thread(path.open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk

    async def files_of(self, message: Message) -> Mapping[str, MediaFile]:
        """The files that a message names, by their `media_id`. Raises a SendError when one is not there."""
        if message.type not in WITH_FILES:
            return {}
        return {
            media_id: await self._file(message.tenant, media_id)
            for place in places(message.type, orjson.loads(message.payload))
            if (media_id := place.holder.get("media_id"))
        }

    async def _item(self, tenant: str, place: Place, of_connection: str | None) -> Media:
        if "media_id" not in place.holder or place.holder["media_id"] is None:
            return await self.fetch(tenant, place.holder["url"], field=f"{place.field}.url")
        field, media_id = f"{place.field}.media_id", place.holder["media_id"]
        item = await self._store.get(tenant, media_id)
        if item is None or (of_connection is not None and item.connection_id not in (None, of_connection)):
            raise InvalidInput(FieldError(field, f"there is no file {media_id}"))
        if item.state is not MediaState.READY:
            raise InvalidInput(FieldError(field, f"is {item.state}; only a file that is ready can be sent"))
        return item

    async def _check(self, place: Place, item: Media) -> None:
        field = f"{place.field}.{'url' if place.holder.get('url') else 'media_id'}"
        assert item.sha256 is not None
        head = await self._files.head(item.sha256) if place.kind == "sticker" or place.voice else b""
        check_file(
            place.kind,
            mime=item.mime,
            size=item.size,
            field=field,
            voice=place.voice,
            moves=place.kind != "sticker" or moves(head),
        )
        if place.voice and not is_voice(head):
            raise InvalidInput(FieldError(field, "a voice note must be OGG with Opus and one channel"))

    async def _file(self, tenant: str, media_id: str) -> MediaFile:
        item = await self._store.get(tenant, media_id)
        if item is None or item.sha256 is None:
            raise Permanent("media_gone", f"there is no file {media_id}")
        path = self._files.path(item.sha256)
        if not path.exists():
            # Another daemon may keep it: its directory is not shared, or not mounted at the moment.
            raise RetryAt("media_missing", f"the content of {media_id} is not in the media directory")
        return MediaFile(
            id=item.id, path=path, mime=item.mime, size=item.size, sha256=item.sha256, filename=item.filename
        )
