"""Seals secrets for storage: AES-256-GCM with a key that lives in a file, not in the database.

A sealed value is `id of the key (8 bytes) | nonce (12) | ciphertext and tag`. The id says at once which key is
missing, and lets a new key seal while older ones still open. The place a value belongs to is authenticated with it,
so that nobody with access to the database can move one tenant's secret into another's row.
"""

import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from zapd.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12


class Vault:
    """Seals with the first key and opens with any. Keys are KEY_BYTES random bytes, the newest first."""

    def __init__(self, *, keys: Sequence[bytes], random_bytes: Callable[[int], bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ConfigError(f"state.data_key_file = must hold keys of {KEY_BYTES} bytes")
        self._random_bytes = random_bytes
        self._keys = {_id_of(key): key for key in keys}
        self._ciphers: dict[bytes, AESGCM] = {}
        self._newest = _id_of(keys[0])

    def check(self, sealed: bytes) -> None:
        """Raises ConfigError when the key that sealed this is not in the key file. Costs nothing: it opens nothing."""
        if (key_id := sealed[:_ID_BYTES]) not in self._keys:
            raise ConfigError(
                f"state.data_key_file = does not hold the key {key_id.hex()} that sealed this database: "
                "bring the file back from a backup"
            )

    def seal(self, plain: bytes, *, place: str) -> bytes:
        """Encrypt what belongs to `place` (for example `connections/<tenant>/<id>`)."""
        nonce = self._random_bytes(_NONCE_BYTES)
        return self._newest + nonce + self._cipher(self._newest).encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, *, place: str) -> bytes:
        """Decrypt. Raises ConfigError when the key is another one, or the value was changed or moved."""
        key_id, nonce = sealed[:_ID_BYTES], sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        if key_id not in self._keys:
            raise ConfigError(f"the vault's key file has no key {key_id.hex()}, which sealed {place}")
        cipher = self._cipher(key_id)
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # see `_cipher`

        try:
            return cipher.decrypt(nonce, sealed[_ID_BYTES + _NONCE_BYTES :], place.encode())
        except InvalidTag:
            raise ConfigError(f"what is sealed for {place} was changed, or belongs elsewhere") from None

    def _cipher(self, key_id: bytes) -> "AESGCM":
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            # A daemon that has no secret to keep yet does without its 6 MiB, and starts sooner.
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

            cipher = self._ciphers[key_id] = AESGCM(self._keys[key_id])
        return cipher


def load_keys(path: Path, *, random_bytes: Callable[[int], bytes]) -> list[bytes]:
    """The keys in a file, one in hex on each line, the newest first. A missing file is made, with mode 0600.

    Losing this file loses every sealed secret. Raises ConfigError when it cannot be read as keys.
    """
    if not path.exists():
        _write_new(path, random_bytes(KEY_BYTES))
    try:
        return [bytes.fromhex(line) for line in path.read_text().split()]
    except ValueError as error:
        raise ConfigError(f"state.data_key_file = {path} must hold keys in hex, one on each line ({error})") from None


def _write_new(path: Path, key: bytes) -> None:
    # Written beside and linked into place: a crash never leaves half a key, and the first of two daemons wins.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _id_of(key: bytes) -> bytes:
    return sha256(b"zapd vault key id\0" + key).digest()[:_ID_BYTES]
