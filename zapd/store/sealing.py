"""Bodies encrypted at rest: AES-256-GCM under a data key of the tenant, which the vault's master key wraps.

Which columns: those that `tables/` marks `SEALED`. The writer seals them, the reader and `Database.fetch` open them,
so no store knows of it. A sealed value is `MARK | id of the data key (8 bytes) | nonce (12) | ciphertext and tag`;
table and column are authenticated with it. Deleting a tenant's data keys makes its bodies unreadable everywhere,
backups too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
import structlog

from zapd.model.webhook import ERASED
from zapd.store.commands import Change, Command, Delete, Insert, Lookup, Row
from zapd.store.tables import SEALED, data_keys
from zapd.store.vault import KEY_BYTES, Vault

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

log = structlog.get_logger("zapd.store")

MARK = b"\x00z1"  #: no JSON begins so; what does not begin so was stored before bodies were sealed
EMPTY = frozenset({b"", b"{}", b"[]", b"null"})  #: says nothing, and stays as it is
_ID_BYTES, _NONCE_BYTES = 8, 12
_HEAD = len(MARK) + _ID_BYTES
_NONCES = 256  # drawn at once: a call of the system for each body costs more than sealing it

_D = data_keys.c
_ADDED = Insert(table=data_keys, columns=tuple(_D))
_GONE = Delete(table=data_keys, columns=(_D.tenant, _D.id))

Columns = Iterable[sa.ColumnElement[Any]]
Keep = Callable[[Change], Awaitable[object]]  #: commits a change to `data_keys`


class _Place(NamedTuple):
    at: int
    name: bytes  #: `table.column`


class _Written(NamedTuple):
    """Where the rows of a command have the tenant and what is sealed."""

    tenant_at: int
    places: tuple[_Place, ...]

    @classmethod
    def of(cls, command: Command) -> "_Written":
        names = [column.name for column in command.columns]
        places = _sealed_among(command.columns)
        return cls(names.index("tenant") if places else 0, places)


class NoKey(Exception):
    """The tenant has no data key yet."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant


class _Key(NamedTuple):
    tenant: str
    id: bytes
    wrapped: bytes
    created_at: int


class Sealing:
    """Seals and opens rows. `fetch` reads the data keys; `on` False seals nothing and opens what is sealed."""

    def __init__(
        self,
        *,
        vault: Vault,
        fetch: Callable[[sa.Select[Any]], Awaitable[Sequence[Row]]],
        random_bytes: Callable[[int], bytes],
        now_ms: Callable[[], int],
        on: bool,
    ) -> None:
        self._vault = vault
        self._fetch = fetch
        self._random_bytes = random_bytes
        self._now_ms = now_ms
        self._on = on
        self._keys: dict[bytes, _Key] = {}
        self._newest: dict[str, bytes] = {}
        self._ciphers: dict[bytes, AESGCM] = {}
        self._gone: set[bytes] = set()
        # Shapes are made once and live for ever (`commands.Shape`).
        self._written: dict[Command, _Written] = {}
        self._read: dict[Command | Lookup, tuple[_Place, ...]] = {}
        self._making = asyncio.Lock()
        self._nonces: Iterator[bytes] = iter(())

    # --- writing ---

    def sealed(self, changes: Sequence[Change]) -> Sequence[Change]:
        """The changes with their bodies sealed. Raises NoKey for a tenant that has none yet: `first_key` makes it."""
        if not self._on:
            return changes
        sealed = []
        for change in changes:
            written = self._written.get(change.command)
            if written is None:
                written = self._written[change.command] = _Written.of(change.command)
            sealed.append(self._sealed(change, written) if written.places else change)
        return sealed

    def _sealed(self, change: Change, written: _Written) -> Change:
        command, row = change
        values: list[Any] | None = None
        for at, name in written.places:
            if row[at] is None or row[at] in EMPTY:
                continue
            tenant = row[written.tenant_at]
            if tenant not in self._newest:
                raise NoKey(tenant)
            values = values or list(row)
            values[at] = self.seal(row[at], name, self._newest[tenant])
        return change if values is None else Change(command, tuple(values))

    def seal(self, plain: bytes, name: bytes, key_id: bytes) -> bytes:
        """One value of the column `name` (`table.column`)."""
        nonce = next(self._nonces, None) or self._more_nonces()
        cipher = self._ciphers.get(key_id) or self._cipher(key_id)
        return b"".join((MARK, key_id, nonce, cipher.encrypt(nonce, plain, name)))

    def _more_nonces(self) -> bytes:
        drawn = self._random_bytes(_NONCE_BYTES * _NONCES)
        self._nonces = iter([drawn[at : at + _NONCE_BYTES] for at in range(0, len(drawn), _NONCE_BYTES)])
        return next(self._nonces)

    # --- reading ---

    async def opened(
        self, columns: Columns, rows: Sequence[Row], shape: Command | Lookup | None = None
    ) -> Sequence[Row]:
        """The rows with their bodies opened. What is found out about a `shape` is remembered."""
        places = None if shape is None else self._read.get(shape)
        if places is None:
            places = _sealed_among(columns)
            if shape is not None:
                self._read[shape] = places
        if not places or not rows:
            return rows
        if any(self._unknown(row[at]) for row in rows for at, _ in places):
            await self.load()
        return [self._opened(row, places) for row in rows]

    def _opened(self, row: Row, places: tuple[_Place, ...]) -> Row:
        values = list(row)
        for at, name in places:
            values[at] = self.open(values[at], name)
        return tuple(values)

    def open(self, value: bytes | None, name: bytes) -> bytes | None:
        """One value of the column `name`; ERASED when its data key is gone."""
        if value is None or not value.startswith(MARK):
            return value
        key_id = value[len(MARK) : _HEAD]
        if key_id not in self._keys:
            self._gone.add(key_id)
            return ERASED
        nonce, body = value[_HEAD : _HEAD + _NONCE_BYTES], value[_HEAD + _NONCE_BYTES :]
        try:
            return (self._ciphers.get(key_id) or self._cipher(key_id)).decrypt(nonce, body, name)
        except Exception as error:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # see `_cipher`

            if not isinstance(error, InvalidTag):
                raise
            log.error("body.changed", column=name.decode(), key=key_id.hex())
            return ERASED

    @staticmethod
    def sealed_under(value: bytes) -> bytes | None:
        """The id of the key that sealed a stored value; None: it lies plain."""
        return value[len(MARK) : _HEAD] if value.startswith(MARK) else None

    def _unknown(self, value: bytes | None) -> bool:
        """Sealed under a key that another process may have made."""
        if value is None or not value.startswith(MARK):
            return False
        key_id = value[len(MARK) : _HEAD]
        return key_id not in self._keys and key_id not in self._gone

    # --- keys ---

    async def load(self) -> None:
        """Read the data keys. Called at start, and when a body names one that is not known."""
        for row in await self._fetch(sa.select(*_D).order_by(_D.created_at, _D.id)):
            key = _Key(tenant=row[0], id=bytes.fromhex(row[1]), wrapped=row[2], created_at=row[3])
            self._keys[key.id] = key
            self._newest[key.tenant] = key.id

    def check(self) -> None:
        """Raises ConfigError when the vault cannot open them: better no start than a daemon that can read nothing."""
        for key in self._keys.values():
            self._vault.check(key.wrapped)

    def newest(self, tenant: str) -> bytes | None:
        """The id of the key that seals this tenant's bodies from now on."""
        return self._newest.get(tenant)

    def ids_of(self, tenant: str) -> list[bytes]:
        """The ids of all its keys."""
        return [key.id for key in self._keys.values() if key.tenant == tenant]

    def tenants(self) -> list[str]:
        """Those that have a key."""
        return sorted(self._newest)

    async def renew(self, tenant: str, commit: Keep) -> bytes:
        """A new data key for what is sealed from now on. Returns its id."""
        key = self._made(tenant)
        await commit(Change(_ADDED, (key.tenant, key.id.hex(), key.wrapped, key.created_at)))
        self._keys[key.id] = key  # only now: a body must never be sealed under a key that may be lost
        self._newest[tenant] = key.id
        return key.id

    async def forget(self, tenant: str, key_ids: Sequence[bytes], commit: Keep) -> None:
        """Delete data keys: what they sealed can be read by nobody any more."""
        for key_id in key_ids:
            await commit(Change(_GONE, (tenant, key_id.hex())))
            self._keys.pop(key_id, None)
            self._ciphers.pop(key_id, None)
            if self._newest.get(tenant) == key_id:
                del self._newest[tenant]

    async def first_key(self, tenant: str, commit: Keep) -> None:
        """Make the data key of a tenant, unless somebody has meanwhile. `commit` keeps it."""
        async with self._making:
            if tenant not in self._newest:
                await self.renew(tenant, commit)

    def _made(self, tenant: str) -> _Key:
        key_id = self._random_bytes(_ID_BYTES)
        wrapped = self._vault.seal(self._random_bytes(KEY_BYTES), place=_place(tenant, key_id))
        return _Key(tenant=tenant, id=key_id, wrapped=wrapped, created_at=self._now_ms())

    def _cipher(self, key_id: bytes) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # 8 MiB, as in the vault

        key = self._keys[key_id]
        cipher = self._ciphers[key_id] = AESGCM(self._vault.open(key.wrapped, place=_place(key.tenant, key_id)))
        return cipher


def _sealed_among(columns: Columns) -> tuple[_Place, ...]:
    return tuple(_Place(i, name) for i, column in enumerate(columns) if (name := _sealed_name(column)) is not None)


def _sealed_name(column: sa.ColumnElement[Any]) -> bytes | None:
    """`table.column` of a sealed column, also of one that comes through a subquery or an alias."""
    for base in column.base_columns:
        if isinstance(base, sa.Column) and base.info.get(SEALED):
            return f"{base.table.name}.{base.name}".encode()
    return None


def _place(tenant: str, key_id: bytes) -> str:
    return f"data_keys/{tenant}/{key_id.hex()}"
