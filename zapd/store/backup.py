"""A copy of what zapd keeps, made while it runs: the database as of one moment, and the key files.

SQLite's `VACUUM INTO` writes a whole, compacted database beside the running one; a copy of the file would not be whole.
"""

import os
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from zapd.errors import Conflict

KEY_FILES = ("data.key", "admin.key", "node.id")


def make(*, database: Path, keys: Sequence[Path], target: Path) -> list[Path]:
    """Write the copy into `target`, which must be new or empty. Returns what was written, mode 0600.

    Raises Conflict when the target holds something, FileNotFoundError when there is no database.
    """
    if not database.exists():
        raise FileNotFoundError(f"there is no database {database}")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(target.iterdir()):
        raise Conflict(f"{target} is not empty")
    written = [_database(database, target / "zapd.db")]
    for key in keys:
        if key.exists():
            copied = target / key.name
            shutil.copyfile(key, copied)
            copied.chmod(0o600)
            written.append(copied)
    for file in written:
        _flush(file)
    return written


def _database(source: Path, target: Path) -> Path:
    connection = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
    try:
        connection.execute("VACUUM INTO ?", [str(target)])
    finally:
        connection.close()
    target.chmod(0o600)
    check = sqlite3.connect(target)
    try:
        found = check.execute("PRAGMA quick_check").fetchone()[0]
    finally:
        check.close()
    if found != "ok":
        raise OSError(f"the copy is damaged: {found}")
    return target


def _flush(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
