"""Sealing: what opens, and what does not."""

import os

import pytest

from zapd.errors import ConfigError
from zapd.store.vault import KEY_BYTES, Vault


def vault(*keys: bytes) -> Vault:
    return Vault(keys=[key * KEY_BYTES for key in keys], random_bytes=os.urandom)


def test_what_was_sealed_opens_in_its_place() -> None:
    sealed = vault(b"a").seal(b"whsec_1", place="endpoints/t/end_1")

    assert b"whsec_1" not in sealed
    assert vault(b"a").open(sealed, place="endpoints/t/end_1") == b"whsec_1"


def test_the_same_secret_is_never_sealed_alike() -> None:
    one = vault(b"a")

    assert one.seal(b"x", place="p") != one.seal(b"x", place="p")


@pytest.mark.parametrize("place", ["endpoints/t/end_2", "endpoints/other/end_1", ""])
def test_a_sealed_value_does_not_open_elsewhere(place: str) -> None:
    with pytest.raises(ConfigError, match="changed"):
        vault(b"a").open(vault(b"a").seal(b"x", place="endpoints/t/end_1"), place=place)


def test_a_wrong_key_is_named() -> None:
    with pytest.raises(ConfigError, match="has no key"):
        vault(b"b").open(vault(b"a").seal(b"x", place="p"), place="p")


def test_changed_bytes_do_not_open() -> None:
    sealed = bytearray(vault(b"a").seal(b"x", place="p"))
    sealed[-1] ^= 1

    with pytest.raises(ConfigError):
        vault(b"a").open(bytes(sealed), place="p")


def test_old_keys_open_and_the_newest_seals() -> None:
    sealed = vault(b"a").seal(b"x", place="p")
    rotated = vault(b"b", b"a")

    assert rotated.open(sealed, place="p") == b"x"
    assert vault(b"b").open(rotated.seal(b"y", place="p"), place="p") == b"y"


@pytest.mark.parametrize("keys", [[], [b"short"]])
def test_bad_keys_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(ConfigError):
        Vault(keys=keys, random_bytes=os.urandom)
