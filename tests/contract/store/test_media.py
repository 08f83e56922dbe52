"""The records of files, on both databases."""

from dataclasses import replace

import pytest

from tests.support.store import NOW, TENANT, a_file
from zapd.model.media import MediaState
from zapd.store.database import Database
from zapd.store.media import MediaStore
from zapd.store.reader import Reader
from zapd.store.writer import Writer


@pytest.fixture
def files(database: Database, reader: Reader) -> MediaStore:
    return MediaStore(database=database, reader=reader)


async def test_a_record_comes_back_as_it_was(writer: Writer, files: MediaStore) -> None:
    item = a_file(connection_id="con_1", filename="ação.pdf", remote=b'{"id":1}', error="x")
    await writer.commit(files.added(item))
    assert await files.get(TENANT, item.id) == item
    assert await files.get("other", item.id) is None


async def test_a_download_is_settled_once(writer: Writer, files: MediaStore) -> None:
    pending = a_file(state=MediaState.PENDING, sha256=None, remote=b"{}")
    await writer.commit(files.added(pending))
    ready = files.ready(TENANT, pending.id, mime="image/png", size=7, sha256="ab")
    failed = files.failed(TENANT, pending.id, mime="image/png", size=0, error="gone")

    assert await writer.commit(ready) is not None
    assert await writer.commit(failed) is None
    expected = replace(pending, state=MediaState.READY, mime="image/png", size=7, sha256="ab")
    assert await files.get(TENANT, pending.id) == expected


async def test_a_failed_download_may_be_tried_again(writer: Writer, files: MediaStore) -> None:
    await writer.commit(files.added(a_file(state=MediaState.PENDING, sha256=None, remote=b"{}")))
    again = files.pending_again(TENANT, "med_1")
    assert await writer.commit(again) is None
    await writer.commit(files.failed(TENANT, "med_1", mime="image/png", size=0, error="gone"))
    assert await writer.commit(again) is not None
    found = await files.get(TENANT, "med_1")
    assert found is not None
    assert (found.state, found.error) == (MediaState.PENDING, None)


async def test_retention_only_moves_forward(writer: Writer, files: MediaStore) -> None:
    await writer.commit(files.added(a_file()))
    for since in (NOW + 10, NOW + 5):
        await writer.commit(files.kept(TENANT, "med_1", since))
    found = await files.get(TENANT, "med_1")
    assert found is not None
    assert found.kept_from == NOW + 10


async def test_what_a_provider_holds_is_known_by_connection(writer: Writer, files: MediaStore) -> None:
    await writer.commit(files.uploaded(TENANT, "con_1", "med_1", "100", NOW))
    await writer.commit(files.uploaded(TENANT, "con_1", "med_1", "200", NOW + 1))
    assert await files.upload(TENANT, "con_1", "med_1") == ("200", NOW + 1)
    assert await files.upload(TENANT, "con_2", "med_1") is None


async def test_contents_that_some_row_names_are_known(writer: Writer, files: MediaStore) -> None:
    await writer.commit_all([files.added(a_file("med_1", sha256="aa")), files.added(a_file("med_2", sha256="aa"))])
    assert await files.known(["aa", "bb"]) == {"aa"}
    assert await files.known([]) == set()
    await writer.commit(files.removed(TENANT, "med_1"))
    assert await files.known(["aa"]) == {"aa"}
    await writer.commit(files.removed(TENANT, "med_2"))
    assert await files.known(["aa"]) == set()
