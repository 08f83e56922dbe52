"""The database: it opens, has the schema of this release, is whole, and does not come from the future."""

import time
from pathlib import Path

from zapd.cli.checkup.finding import Finding, note, ok, wrong
from zapd.config import Config
from zapd.store.database import HEAD, Database

AHEAD = 60.0  #: seconds that the newest event may lie ahead of the clock


async def examined(config: Config) -> list[Finding]:
    """The findings about it, and the clock as its rows show it."""
    url = config.database_url
    file = Path(url.partition("///")[2]) if url.startswith("sqlite") else None
    if file is not None and not file.exists():
        return [note("database", f"{file} does not exist yet", "`zapd run` makes it.")]
    database = Database(url=url)
    try:
        return [*await _schema(database), *await _whole(database), *await _clock(database)]
    except Exception as error:  # whatever it is: it is what we look for
        return [wrong("database", f"it does not open: {error}", _opening(file))]
    finally:
        await database.close()


def _opening(file: Path | None) -> str:
    if file is not None:
        return f"See that {file} is readable, on a disk that works; else bring it back from a backup (README: Backup)."
    return "See that [database] url names a PostgreSQL that runs and lets zapd in."


async def _schema(database: Database) -> list[Finding]:
    found = await database.version()
    if found == HEAD:
        return [ok("database", f"it opens, at schema {HEAD}")]
    if found is not None and found > HEAD:
        return [
            wrong("database", f"its schema {found} is newer than this zapd's {HEAD}", "Install the newer zapd again.")
        ]
    return [wrong("database", f"its schema is {found}, this zapd needs {HEAD}", "Stop zapd and run `zapd migrate`.")]


async def _whole(database: Database) -> list[Finding]:
    damage = await database.damage()
    if damage is None:
        return [ok("database integrity", "no page is damaged")]
    return [wrong("database integrity", damage, "Stop zapd, keep the file, and bring the newest backup back.")]


async def _clock(database: Database) -> list[Finding]:
    newest = await database.newest_event_at()
    ahead = (newest or 0) / 1000 - time.time()
    if ahead > AHEAD:
        text = f"the newest event is {ahead:.0f} s ahead of this machine's clock"
        return [wrong("clock", text, "Set the clock (chrony or systemd-timesyncd): schedules wait until then.")]
    return [ok("clock", "it is not behind what the database has seen")]
