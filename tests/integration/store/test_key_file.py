"""The file that holds the vault's keys."""

import os
import stat
from pathlib import Path

import pytest

from zapd.errors import ConfigError
from zapd.store.vault import KEY_BYTES, Vault, load_keys


def test_the_first_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"

    keys = load_keys(path, random_bytes=os.urandom)

    assert [len(key) for key in keys] == [KEY_BYTES]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys(path, random_bytes=os.urandom) == keys
    assert list(tmp_path.iterdir()) == [path]


def test_the_newest_key_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    path.write_text(f"{'bb' * KEY_BYTES}\n{'aa' * KEY_BYTES}\n")
    old = Vault(keys=[b"\xaa" * KEY_BYTES], random_bytes=os.urandom)
    sealed = old.seal(b"secret", place="here")

    both = Vault(keys=load_keys(path, random_bytes=os.urandom), random_bytes=os.urandom)

    assert both.open(sealed, place="here") == b"secret"
    with pytest.raises(ConfigError):
        old.open(both.seal(b"secret", place="here"), place="here")


@pytest.mark.parametrize("text", ["not hex", "abcd", ""])
def test_a_file_without_whole_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "vault.key"
    path.write_text(text)

    with pytest.raises(ConfigError):
        Vault(keys=load_keys(path, random_bytes=os.urandom), random_bytes=os.urandom)
