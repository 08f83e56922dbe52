"""Contents on disk."""

import hashlib
import os
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from zapd.media.files import BUCKETS, YOUNG, Files, TooLarge


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(directory=tmp_path, random_bytes=os.urandom)


def on_disk(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_a_content_is_under_its_hash_and_kept_once(files: Files, tmp_path: Path) -> None:
    big = os.urandom(3 * 1024 * 1024)
    kept = await files.keep(chunks(big[:10], big[10:]), limit=len(big))
    again = await files.keep(chunks(big), limit=len(big))
    assert kept == again
    assert (kept.sha256, kept.size, kept.head) == (hashlib.sha256(big).hexdigest(), len(big), big[:512])
    assert on_disk(tmp_path) == [files.path(kept.sha256)]
    assert files.path(kept.sha256).read_bytes() == big
    assert await files.head(kept.sha256) == big[:512]


async def test_what_is_too_large_or_breaks_off_leaves_nothing(files: Files, tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="larger than 3 bytes"):
        await files.keep(chunks(b"ab", b"cd"), limit=3)

    async def broken() -> AsyncIterator[bytes]:
        yield b"ab"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await files.keep(broken(), limit=3)
    assert on_disk(tmp_path) == []


async def test_a_sweep_deletes_what_no_row_names_and_is_old(files: Files, tmp_path: Path) -> None:
    kept = [await files.keep(chunks(f"{n}".encode()), limit=10) for n in range(20)]
    named, orphans, young = kept[:5], kept[5:15], kept[15:]
    for item in named + orphans:
        os.utime(files.path(item.sha256), (0, time.time() - YOUNG - 1))
    draft = tmp_path / "drafts" / "left-by-a-crash"
    draft.write_bytes(b"x")
    os.utime(draft, (0, 0))

    async def known(hashes: Collection[str]) -> set[str]:
        return set(hashes) & {item.sha256 for item in named}

    gone = 0
    for _ in range(BUCKETS // 16):
        gone += await files.sweep(known)
    assert gone == len(orphans)
    assert {path.name for path in on_disk(tmp_path)} == {item.sha256 for item in named + young}


async def test_a_content_that_comes_again_becomes_young(files: Files) -> None:
    """Else a sweep could take it from under a row that is about to be committed."""
    kept = await files.keep(chunks(b"x"), limit=10)
    os.utime(files.path(kept.sha256), (0, 0))
    await files.keep(chunks(b"x"), limit=10)
    assert files.path(kept.sha256).stat().st_mtime > time.time() - 60
