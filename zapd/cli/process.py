"""Commands about the process itself: run it, check its configuration, bring its database up to date."""

import gc
import json
import os
import sys
from pathlib import Path

import click

from zapd.cli.options import config_option, json_option, overrides, state_option


@click.command()
@config_option
@state_option
@click.option("--listen", help="HOST:PORT, instead of [http] listen.")
def run(config: Path | None, state_dir: Path | None, listen: str | None) -> int:
    """Run the daemon until a signal ends it."""
    gc.disable()  # to collect garbage while a thousand modules are imported takes a seventh of the start
    from zapd.config import Config, load  # noqa: PLC0415

    def read() -> Config:
        return load(config, environ=os.environ, overrides=overrides(state_dir, listen))

    def greet() -> None:
        if sys.stderr.isatty():
            click.echo(greeting(checked, command=sys.argv[0], config_file=config), err=True)

    checked = read()
    leave_out(sqlite=checked.database_url.startswith("sqlite"))
    import_aiohttp()
    from zapd import daemon  # noqa: PLC0415
    from zapd.cli.greeting import greeting  # noqa: PLC0415
    from zapd.telemetry.logs import configure  # noqa: PLC0415
    from zapd.telemetry.metrics import LogCollector  # noqa: PLC0415

    gc.enable()
    logs = configure(level=checked.log.level, format=checked.log.format, environ=os.environ)
    try:
        return daemon.run(checked, reload=read, on_ready=greet, collectors=[LogCollector(logs=logs)])
    finally:
        logs.close()


def leave_out(*, sqlite: bool) -> None:
    """Keep libraries from importing what the daemon does not use; call it before they are imported.

    structlog would import rich for coloured tracebacks: 3 MiB. SQLAlchemy would import greenlet, which only its part
    for asyncio uses, and that only PostgreSQL needs; greenlet and aiohttp's frozenlist bring C++'s runtime: 1.5 MiB.
    """
    unused = ("rich", "greenlet") if sqlite else ("rich",)
    for name in unused:  # None makes a module look as if it were not installed
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the import system takes it, typeshed does not
    os.environ.setdefault("FROZENLIST_NO_EXTENSIONS", "1")  # the lists of an application's hooks, a handful


def import_aiohttp() -> None:
    """Keep aiohttp from reading the system's certificates while it is imported: they are 2 MB of an idle daemon.

    Its clients get them with their first request, see `webhooks/trust.py`. One that was forgotten believes nobody.
    """
    given = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = os.devnull
    import aiohttp  # noqa: F401, PLC0415

    if given is None:
        del os.environ["SSL_CERT_FILE"]
    else:
        os.environ["SSL_CERT_FILE"] = given


@click.command()
@config_option
@state_option
@json_option
def check_config(config: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """Read the configuration and name every wrong key. Exit code 78 when there is one."""
    from zapd.errors import ConfigError  # noqa: PLC0415

    try:
        _check(config, state_dir)
    except ConfigError as error:
        if as_json:
            click.echo(json.dumps({"ok": False, "problems": list(error.problems)}, ensure_ascii=False))
        raise
    click.echo('{"ok": true}' if as_json else "the configuration is right")


def _check(config: Path | None, state_dir: Path | None) -> None:
    from zapd.config import load  # noqa: PLC0415

    found = load(config, environ=os.environ, overrides=overrides(state_dir))
    if found.definitions or found.listeners or any(queue.action for queue in found.queues.values()):
        import asyncio  # noqa: PLC0415

        from zapd.errors import ConfigError  # noqa: PLC0415
        from zapd.parts.hub_file import problems_of_file  # noqa: PLC0415

        if problems := asyncio.run(problems_of_file(found)):
            raise ConfigError(*problems)


@click.command()
@config_option
@state_option
@json_option
def migrate(config: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """Bring the database to the schema of this release. Stop the daemon first."""
    import asyncio  # noqa: PLC0415

    from zapd.config import load  # noqa: PLC0415
    from zapd.daemon import PRIVATE  # noqa: PLC0415
    from zapd.store.database import HEAD, Database  # noqa: PLC0415

    found = load(config, environ=os.environ, overrides=overrides(state_dir))
    os.umask(PRIVATE)
    found.state.dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def migrate_and_close() -> None:
        database = Database(url=found.database_url)
        try:
            await database.migrate()
        finally:
            await database.close()

    asyncio.run(migrate_and_close())
    click.echo(f'{{"schema": "{HEAD}"}}' if as_json else f"the database is at schema {HEAD}")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@config_option
@state_option
@json_option
def backup(directory: Path, config: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """Copy the database and the key files into DIRECTORY, which must be new or empty. The daemon may run."""
    from zapd.config import load  # noqa: PLC0415
    from zapd.errors import ZapdError  # noqa: PLC0415
    from zapd.store import backup as backups  # noqa: PLC0415

    found = load(config, environ=os.environ, overrides=overrides(state_dir))
    if not found.database_url.startswith("sqlite"):
        raise click.ClickException("the database is PostgreSQL: use pg_dump, and copy data.key")
    os.umask(0o077)
    state = found.state.dir
    keys = [found.data_key_file, *[state / name for name in backups.KEY_FILES if name != "data.key"]]
    try:
        written = backups.make(database=Path(found.database_url.partition("///")[2]), keys=keys, target=directory)
    except (OSError, ZapdError) as error:
        raise click.ClickException(str(error)) from None
    sizes = {str(file): file.stat().st_size for file in written}
    click.echo(json.dumps(sizes) if as_json else "\n".join(f"{file}  {size} bytes" for file, size in sizes.items()))
