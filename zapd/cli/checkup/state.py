"""The state directory: whose it is, who may read it, and whether there is room."""

import os
import pwd
import shutil
import stat

from zapd.cli.checkup.finding import Finding, note, ok, wrong
from zapd.config import Config

SCARCE, LOW = 512 * 1024**2, 2 * 1024**3  #: bytes that are free: wrong below the first, worth knowing below the second
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def directory(config: Config) -> list[Finding]:
    """It is there, ours, and private."""
    path, check = config.state.dir.absolute(), "state directory"
    if not path.exists():
        return [note(check, f"{path} does not exist yet", "`zapd run` makes it.")]
    if not path.is_dir():
        return [wrong(check, f"{path} is no directory", "Name another one in [state] dir.")]
    found = path.stat()
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return [wrong(check, f"{_me()} may not write to {path}", f"Run this as {_name(found.st_uid)}, or chown it.")]
    strangers = sorted({file.name for file in path.iterdir() if file.lstat().st_uid != found.st_uid})
    if strangers:
        return [
            wrong(
                check,
                f"files in {path} do not belong to {_name(found.st_uid)}: {', '.join(strangers[:5])}",
                f"chown -R {_name(found.st_uid)} {path}",
            )
        ]
    if found.st_mode & stat.S_IRWXO:
        return [wrong(check, f"everybody may look into {path}", f"chmod 700 {path}")]
    return [ok(check, f"{path} belongs to {_name(found.st_uid)} and is private")]


def secrets(config: Config) -> list[Finding]:
    """The files with keys are private, and the data key is there when there is data."""
    state, found = config.state.dir, []
    for file in (config.data_key_file, state / "admin.key"):
        if file.exists() and file.stat().st_mode & _OTHERS:
            found.append(wrong("key files", f"others may read {file}", f"chmod 600 {file}; then rotate what it opens."))
    if (state / "zapd.db").exists() and not config.data_key_file.exists():
        text = f"{config.data_key_file} is gone: nothing that was sealed can be read"
        found.append(wrong("key files", text, "Bring it back from a backup before zapd starts and makes a new one."))
    return found or [ok("key files", "only their owner may read them")]


def disk(config: Config) -> list[Finding]:
    """There is room for what will be accepted."""
    path = next(
        folder for folder in (config.state.dir.absolute(), *config.state.dir.absolute().parents) if folder.exists()
    )
    free = shutil.disk_usage(path).free
    text = f"{free / 1024**3:.1f} GiB are free at {path}"
    if free < SCARCE:
        return [wrong("disk", text, "Make room: a full disk makes zapd refuse what it is sent. Shorten [retention].")]
    return [note("disk", text, "Make room soon, or shorten [retention].") if free < LOW else ok("disk", text)]


def _me() -> str:
    return _name(os.geteuid())


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
