"""`zapd status`, `zapd openapi` and `zapd completion`."""

from collections.abc import Mapping
from typing import Any

import click

from zapd.cli.client import Client
from zapd.cli.options import client_command
from zapd.cli.output import Output

QUEUE = ("queue", "waiting", "active", "delayed", "dead", "paused")


@click.command()
@client_command
def status(api: Client, out: Output) -> None:
    """The whole state of the daemon. Exit code 1 when a part of it has failed."""
    found = api.call("GET", "/status").data
    if out.as_json:
        out.json(found)
    else:
        _show(out, found)
    if any(service["failed"] for service in found["services"].values()):
        raise click.ClickException("a part has failed")


@click.command()
def openapi() -> None:
    """Print this release's OpenAPI document; needs no daemon."""
    from zapd.web.docs import rendered_openapi  # noqa: PLC0415
    from zapd.web.routes import ROUTES  # noqa: PLC0415

    click.echo(rendered_openapi(ROUTES))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete zapd's commands; put it where the shell reads such files."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    assert kind is not None, "one of click's own shells"
    click.echo(kind(root, {}, "zapd", "_ZAPD_COMPLETE").source())


def _show(out: Output, state: Mapping[str, Any]) -> None:
    parts: Mapping[str, Mapping[str, Any]] = state["services"]
    up = [name for name, part in parts.items() if part["up"]]
    down = [f"{name} ({part['failed'] or 'restarting'})" for name, part in parts.items() if not part["up"]]
    restarts = [f"{name} {part['restarts']}" for name, part in parts.items() if part["restarts"]]
    out.one(
        {
            "zapd": f"{state['version']}, {state['phase']}",
            "parts": f"{len(up)} of {len(parts)} up; down: {', '.join(down)}" if down else "all up",
            "restarts": ", ".join(restarts),
            "sessions": _line(state["sessions"]) or "none",
            "outbox": _outbox(**state["outbox"]),
        }
    )
    click.echo()
    queues = state["queues"]
    if "unavailable" in queues:  # Redis is away; what was accepted waits in the outbox
        click.echo(f"queues    unavailable: {queues['unavailable']}")
    else:
        out.table([{"queue": name, **figures} for name, figures in queues.items()], *QUEUE)


def _outbox(rows: int = 0, oldest_at: str | None = None, unavailable: str | None = None) -> str:
    return unavailable or f"{rows} jobs to be done" + (f", the oldest from {oldest_at}" if oldest_at else "")


def _line(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{figure} {name}" for name, figure in figures.items() if figure is not None)
