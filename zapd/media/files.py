"""The contents of files, on disk under their hash: what comes twice is kept once, and nothing is ever changed."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from zapd.errors import ZapdError
from zapd.media.sniff import HEAD

WRITE = 1024 * 1024  #: bytes that are written at once, in a thread
YOUNG = 3600.0  #: seconds; a younger file may belong to a row that is not committed yet
BUCKETS = 256
SWEPT = 16  #: directories that one sweep looks at


class TooLarge(ZapdError):
    """The file is over the limit."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A content that is on disk."""

    sha256: str
    size: int
    head: bytes  #: its first bytes


@dataclass
class _Draft:
    path: Path
    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size: int = 0
    head: bytes = b""


class Files:
    """A directory of contents. `random_bytes` names drafts."""

    def __init__(self, *, directory: Path, random_bytes: Callable[[int], bytes]) -> None:
        self._directory = directory
        self._random_bytes = random_bytes
        self._next_bucket = 0

    def path(self, sha256: str) -> Path:
        """Where this content is, if it is there."""
        return self._directory / sha256[:2] / sha256

    async def keep(self, chunks: AsyncIterator[bytes], *, limit: int) -> Kept:
        """Write a content. When this returns, it survives a power cut. Raises TooLarge, and what `chunks` raises."""
        draft = _Draft(self._directory / "drafts" / self._random_bytes(16).hex())
        await asyncio.to_thread(draft.path.parent.mkdir, parents=True, exist_ok=True)
        try:
            pending = bytearray()
            async for chunk in chunks:
                pending += chunk
                if draft.size + len(pending) > limit:
                    raise TooLarge(f"the file is larger than {limit} bytes")
                if len(pending) >= WRITE:
                    await asyncio.to_thread(_append, draft, bytes(pending))
                    pending.clear()
            await asyncio.to_thread(_append, draft, bytes(pending))
            sha256 = draft.hash.hexdigest()
            await asyncio.to_thread(_finish, draft.path, self.path(sha256))
        except BaseException:
            draft.path.unlink(missing_ok=True)
            raise
        return Kept(sha256=sha256, size=draft.size, head=draft.head)

    async def head(self, sha256: str) -> bytes:
        """The first bytes of a content. Raises FileNotFoundError."""
        return await asyncio.to_thread(_head, self.path(sha256))

    async def drop(self, sha256: str) -> None:
        """Delete a content that no row names. A young one stays for the sweep: its row may be under way."""
        await asyncio.to_thread(_unlink, self.path(sha256), time.time() - YOUNG)

    async def sweep(self, known: Callable[[Collection[str]], Awaitable[set[str]]]) -> int:
        """Delete what no row names, in a few of the directories; each call goes on where the last one ended.

        `known` says which of these contents some row names. Returns how many went.
        """
        gone = 0
        for _ in range(SWEPT):
            bucket, self._next_bucket = self._next_bucket, (self._next_bucket + 1) % BUCKETS
            old = await asyncio.to_thread(_older, self._directory / f"{bucket:02x}", time.time() - YOUNG)
            for sha256 in set(old) - await known(old):
                await self.drop(sha256)
                gone += 1
        for draft in await asyncio.to_thread(_older, self._directory / "drafts", time.time() - YOUNG):
            (self._directory / "drafts" / draft).unlink(missing_ok=True)
        return gone


def _append(draft: _Draft, data: bytes) -> None:
    with draft.path.open("ab") as file:
        file.write(data)
    draft.hash.update(data)
    draft.size += len(data)
    if len(draft.head) < HEAD:
        draft.head += data[: HEAD - len(draft.head)]


def _finish(draft: Path, final: Path) -> None:
    """Put a draft in its place. One that is there already is the same: it becomes young, so that no sweep takes it."""
    if final.exists():
        draft.unlink()
        os.utime(final)
        return
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    final.parent.mkdir(parents=True, exist_ok=True)
    draft.chmod(0o640)
    draft.rename(final)
    directory = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _unlink(path: Path, before: float) -> None:
    with suppress(FileNotFoundError):
        if path.stat().st_mtime < before:
            path.unlink()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _older(directory: Path, before: float) -> list[str]:
    if not directory.is_dir():
        return []
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.stat().st_mtime < before]
