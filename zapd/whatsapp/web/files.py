"""The files of one linked account: the library's database with its keys, and what zapd keeps beside it.

The library needs its database in the clear while the account is linked; nobody else may read it (mode 0600, in a
directory of mode 0700). What is set aside is sealed.

A message's id is made by the library, and lost when its answer is. But the library writes it into its database beside
the message's secret, before the message leaves; and the secret is ours to choose. So a lost id can be found by it, and
a secret that is not there proves that the message never left.
"""

import contextlib
import hashlib
import hmac
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from zapd.model.message import Message

STORE, SPOOL, TRACE_KEY, ASIDE = "store.db", "spool.jsonl", "trace.key", "aside"
BUSY_FOR = 5.0  #: seconds that the library may hold its database
_DEVICES = "SELECT 1 FROM whatsmeow_device"
_BY_SECRET = "SELECT message_id FROM whatsmeow_message_secrets WHERE key = ?"

Seal = Callable[[bytes, str], bytes]


class AccountFiles:
    """The files of one connection, below `root`. `seal(plain, place)` is the vault's.

    Everything here reads or writes a disk: call it in a thread.
    """

    def __init__(self, *, root: Path, key: str, seal: Seal, random_bytes: Callable[[int], bytes]) -> None:
        self.name = key.replace("/", "~")  #: of the directory; ids have neither
        self._root = root
        self._directory = root / self.name
        self._seal = seal
        self._random_bytes = random_bytes

    def exist(self) -> bool:
        """Whether there is a database. Whether its keys are in use is the credentials' to say."""
        return (self._directory / STORE).exists()

    def set_aside(self, reason: str, *, at: int) -> None:
        """Take the keys out of use: the next start pairs anew. The database stays, sealed, beside the others.

        Of a pairing that never came to its end nothing is kept. What came in and is not committed yet is no secret of
        the account's, and stays for the next start.
        """
        store = self._directory / STORE
        if store.exists() and self._was_linked():
            aside = self._root / ASIDE
            aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept = aside / f"{self.name}-{at}-{reason}.sealed"
            self._write(kept, self._seal(store.read_bytes(), f"web/{self.name}"))
        for file in self._directory.glob("*"):
            if file.name != SPOOL:
                file.unlink()

    def _was_linked(self) -> bool:
        try:
            return self._ask(_DEVICES, ()) is not None
        except (OSError, sqlite3.Error):
            return True  # nobody can tell any more

    def secret(self, message: Message) -> bytes:
        """32 bytes that only this try of this message has."""
        part = f"{message.id}/{message.sending_at}".encode()
        return hmac.new(self._trace_key(), part, hashlib.sha256).digest()

    def provider_id(self, secret: bytes) -> str | None:
        """The id under which the message with this secret left, or was about to; None: it was not sent.

        Raises OSError or sqlite3.Error when nobody can tell.
        """
        row = self._ask(_BY_SECRET, (secret,))
        return str(row[0]) if row else None

    def _ask(self, query: str, values: tuple[object, ...]) -> tuple[object, ...] | None:
        where = f"{(self._directory / STORE).absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(where, uri=True, timeout=BUSY_FOR)) as link:
            row: tuple[object, ...] | None = link.execute(query, values).fetchone()
            return row

    def _trace_key(self) -> bytes:
        path = self._directory / TRACE_KEY
        if not path.exists():
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write(path, self._random_bytes(32))
        return path.read_bytes()

    @staticmethod
    def _write(target: Path, content: bytes) -> None:
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)


def drop_old(root: Path, *, before: float) -> None:
    """Delete what was set aside earlier than this (seconds since 1970)."""
    for file in (root / ASIDE).glob("*.sealed"):
        if file.stat().st_mtime < before:
            file.unlink(missing_ok=True)
