"""Options that commands share, and what they become: a client of the daemon and a way to show its answers."""

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any

import click

from zapd.cli.client import Client, read_key
from zapd.cli.output import Output

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


class ListFirst(click.Group):
    """Commands about one kind of thing; without a command it lists them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`zapd keys --json` means `zapd keys list --json`."""
        lists = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        if lists and not ctx.resilient_parsing:  # a shell that completes asks what could come here
            args = ["list", *args]
        return super().parse_args(ctx, args)


config_option: Decorator = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ZAPD_CONFIG",
    help="Configuration file (TOML).",
)
state_option: Decorator = click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), help="Instead of [state] dir."
)
url_option: Decorator = click.option(
    "--url", envvar="ZAPD_URL", help="Address of the daemon; else that of the configuration."
)
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print the daemon's JSON.")


def one_of(words: type[StrEnum]) -> "click.Choice[str]":
    """The words of the model. click by itself would take the names of the members."""
    return click.Choice([word.value for word in words])


def client_command(command: Command) -> Command:
    """The command is called with `api` and `out` before its own arguments.

    The address comes from --url, ZAPD_URL or the configuration; the key from ZAPD_API_KEY or the state directory.
    """

    @wraps(command)
    def called(config: Path | None, state_dir: Path | None, url: str | None, as_json: bool, **arguments: Any) -> None:
        command(_client(config, state_dir, url), Output(as_json=as_json), **arguments)

    return config_option(state_option(url_option(json_option(called))))


def overrides(state_dir: Path | None, listen: str | None = None) -> dict[str, object]:
    """Flags as settings of the configuration."""
    given = {"state.dir": state_dir and str(state_dir), "http.listen": listen}
    return {key: value for key, value in given.items() if value is not None}


def _client(config: Path | None, state_dir: Path | None, url: str | None) -> Client:
    key = os.environ.get("ZAPD_API_KEY")
    if url and key:
        return Client(url=url, key=key)  # nothing of the configuration is needed
    from zapd.config import load  # noqa: PLC0415  # pydantic takes longer to import than a request takes

    found = load(config, environ=os.environ, overrides=overrides(state_dir))
    return Client(url=url or url_of(*found.http.address), key=read_key(key, found.state.dir))


def url_of(host: str, port: int) -> str:
    """Where a daemon that listens there is reached from the same machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def json_argument(text: str, option: str) -> Any:
    """JSON that was given on the command line, or on standard input as `-`."""
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise click.BadParameter(f"is not JSON: {error}", param_hint=option) from None
