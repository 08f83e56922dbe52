"""What a state directory gets once: the admin key and the node's name. Each file is whole or not there."""

import base64
import os
from collections.abc import Callable
from pathlib import Path

from zapd.ids import Ids
from zapd.model.access import DEFAULT_TENANT, ApiKey, Scope
from zapd.store.keys import KeyStore
from zapd.store.writer import Writer
from zapd.web.keyring import SECRET_BYTES, digest_of


async def ensure_admin_key(
    path: Path,
    *,
    keys: KeyStore,
    writer: Writer,
    ids: Ids,
    random_bytes: Callable[[int], bytes],
    now_ms: Callable[[], int],
) -> bool:
    """See to it that the key in the file opens everything; True when it was made now.

    The file comes first: a crash between the two leaves a key that the next start enters into the database.
    """
    made = not path.exists()
    if made:
        token = "zapd_" + base64.urlsafe_b64encode(random_bytes(SECRET_BYTES)).rstrip(b"=").decode()
        write_private(path, token + "\n")
    digest = digest_of(path.read_text().strip())
    if await keys.by_hash(digest) is None:
        key = ApiKey(
            tenant=DEFAULT_TENANT,
            id=ids.new("key"),
            hash=digest,
            label="admin.key",
            scopes=frozenset({Scope.ADMIN}),
            connection_id=None,
            created_at=now_ms(),
        )
        await writer.commit(keys.added(key))
    return made


def node_id(path: Path, *, ids: Ids) -> str:
    """The name of this state directory among daemons that share a Redis; made at the first start."""
    if not path.exists():
        write_private(path, ids.ulid() + "\n")
    return path.read_text().strip()


def write_private(path: Path, text: str) -> None:
    """A file of mode 0600 that is there with all its text or not at all."""
    draft = path.with_name(path.name + ".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
