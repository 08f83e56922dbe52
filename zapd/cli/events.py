"""`zapd events`: the event log."""

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command
from zapd.cli.output import Output

COLUMNS = ("created_at", "type", "connection_id", "message_id", "severity", "id")


@click.group(cls=ListFirst)
def events() -> None:
    """What happened. Without a command: list it."""


@events.command("list")
@click.option("--type", "type_")
@click.option("--category")
@click.option("--connection")
@click.option("--after")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@client_command
def list_events(
    api: Client, out: Output, type_: str | None, category: str | None, connection: str | None, **page: str | int | None
) -> None:
    """The log, oldest first."""
    query = {"type": type_, "category": category, "connection_id": connection, **page}
    out.page(api.call("GET", "/events", query=query).data, *COLUMNS)


@events.command()
@click.argument("event")
@client_command
def show(api: Client, out: Output, event: str) -> None:
    """One event."""
    out.one(api.call("GET", f"/events/{event}").data)
