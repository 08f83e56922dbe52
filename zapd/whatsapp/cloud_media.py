"""Files at Meta: uploads that are remembered, and downloads of what contacts sent. Source: wire facts §1.4."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import orjson

from zapd.whatsapp.cloud_client import CloudClient
from zapd.whatsapp.transport import MediaFile, Permanent, RemoteMedia, RetryAt, UnknownOutcome

TIMEOUT = 300.0  #: seconds for one file


class Uploads(Protocol):
    """Which files Meta holds for this connection."""

    async def get(self, media_id: str) -> str | None:
        """Meta's id, unless it is too old to be good."""

    async def put(self, media_id: str, provider_id: str) -> None:
        """Meta holds it from now on."""


class CloudMedia:
    """The files of one number.

    An upload outlives the send that began it: a large file may take longer than one try of a send, and the next try
    finds it done. Each file is uploaded once at a time.
    """

    def __init__(self, *, client: CloudClient, number: str, uploads: Uploads, name: str) -> None:
        self._client = client
        self._number = number
        self._uploads = uploads
        self._name = name
        self._running: dict[str, asyncio.Task[str]] = {}

    async def uploaded(self, files: Mapping[str, MediaFile]) -> dict[str, str]:
        """Meta's ids of these files. Raises a SendError; nothing of the message has left then."""
        return {media_id: await self._id_of(file) for media_id, file in files.items()}

    async def close(self) -> None:
        """End the uploads that run."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def download(self, media: RemoteMedia) -> AsyncIterator[bytes]:
        """The content. Meta's link to it is good for five minutes, so it is asked for anew each time."""
        media_id = str(orjson.loads(media.reference)["id"])
        answer = await self._client.call("GET", media_id, query={"phone_number_id": self._number})
        try:
            url = str(orjson.loads(answer)["url"])
        except (ValueError, LookupError, TypeError):
            raise RetryAt("answer_without_url") from None
        async for chunk in self._client.stream(url, timeout=TIMEOUT):
            yield chunk

    async def _id_of(self, file: MediaFile) -> str:
        known = await self._uploads.get(file.id)
        if known is not None:
            return known
        task = self._running.get(file.id)
        if task is None:
            task = self._running[file.id] = asyncio.create_task(self._upload(file), name=f"{self._name}:upload")
            task.add_done_callback(lambda done: self._ended(file.id, done))
        return await asyncio.shield(task)

    async def _upload(self, file: MediaFile) -> str:
        try:
            answer = await self._client.upload(
                f"{self._number}/media",
                fields={"messaging_product": "whatsapp", "type": file.mime},
                file=file.path,
                mime=file.mime,
                filename=file.filename or file.sha256[:16],
                timeout=TIMEOUT,
            )
            provider_id = str(orjson.loads(answer)["id"])
        except UnknownOutcome as error:
            raise RetryAt("upload_failed", error.detail) from error
        except (ValueError, LookupError, TypeError) as error:
            raise RetryAt("upload_failed", "the answer has no id") from error
        except FileNotFoundError as error:
            raise Permanent("media_gone", f"the content of {file.id} is not on disk") from error
        await self._uploads.put(file.id, provider_id)
        return provider_id

    def _ended(self, media_id: str, task: asyncio.Task[str]) -> None:
        self._running.pop(media_id, None)
        if not task.cancelled():
            task.exception()  # heard by the send that waits; one whose job ended meanwhile tries again
