"""What a state directory gets once."""

import os
import stat
from pathlib import Path

import pytest

from tests.integration.messaging.world import World
from zapd.first_start import ensure_admin_key, node_id, write_private
from zapd.model.access import Scope
from zapd.store.keys import KeyStore
from zapd.web.keyring import digest_of


async def ensured(world: World, path: Path) -> bool:
    return await ensure_admin_key(
        path,
        keys=KeyStore(database=world.database, reader=world.reader),
        writer=world.writer,
        ids=world.ids,
        random_bytes=os.urandom,
        now_ms=world.clock.now_ms,
    )


async def test_the_first_start_makes_an_admin_key_and_later_ones_keep_it(world: World, tmp_path: Path) -> None:
    path, keys = tmp_path / "admin.key", KeyStore(database=world.database, reader=world.reader)
    assert await ensured(world, path) is True
    token = path.read_text().strip()
    assert await ensured(world, path) is False
    assert path.read_text().strip() == token

    (key,) = await keys.listed("default", after=None, limit=10)
    assert (key.scopes, key.hash, key.connection_id) == (frozenset({Scope.ADMIN}), digest_of(token), None)
    assert token not in repr(key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_key_whose_row_was_never_written_is_entered_at_the_next_start(world: World, tmp_path: Path) -> None:
    """Killed between the file and the database; or the database is a new one."""
    path = tmp_path / "admin.key"
    write_private(path, "zapd_from-before\n")
    assert await ensured(world, path) is False
    found = await KeyStore(database=world.database, reader=world.reader).by_hash(digest_of("zapd_from-before"))
    assert found is not None


async def test_a_key_that_was_revoked_stays_so(world: World, tmp_path: Path) -> None:
    path, keys = tmp_path / "admin.key", KeyStore(database=world.database, reader=world.reader)
    await ensured(world, path)
    (key,) = await keys.listed("default", after=None, limit=10)
    await world.change(keys.revoked("default", key.id, 1))
    await ensured(world, path)
    (key,) = await keys.listed("default", after=None, limit=10)
    assert key.revoked_at == 1


def test_a_state_directory_keeps_its_name(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = node_id(tmp_path / "node.id", ids=world.ids)
    assert node_id(tmp_path / "node.id", ids=world.ids) == first
    assert node_id(tmp_path / "other" / "node.id", ids=world.ids) != first


def test_a_draft_of_a_crash_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "node.id"
    (tmp_path / "node.id.new").write_text("half of someth")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError):
        write_private(path, "whole\n")
    assert not path.exists()
    monkeypatch.undo()
    write_private(path, "whole\n")
    assert path.read_text() == "whole\n"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["node.id"]


def _full(_: int) -> None:
    raise OSError("no space left")
