"""`zapd inbox`."""

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command
from zapd.cli.output import Output

COLUMNS = ("id", "connection_id", "size", "received_at", "processed_at", "error")


@click.group(cls=ListFirst)
def inbox() -> None:
    """What providers sent, as it came. Without a command: list it."""


@inbox.command("list")
@click.option("--connection", "connection_id")
@click.option("--failed/--read", default=None, help="Only what could not be read, or only the rest.")
@click.option("--after")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@client_command
def list_inbox(
    api: Client, out: Output, connection_id: str | None, failed: bool | None, after: str | None, limit: int
) -> None:
    """The bodies, newest first."""
    flag = None if failed is None else str(failed).lower()
    query = {"connection_id": connection_id, "failed": flag, "after": after, "limit": limit}
    out.page(api.call("GET", "/inbox", query=query).data, *COLUMNS)


@inbox.command()
@click.argument("row")
@client_command
def show(api: Client, out: Output, row: str) -> None:
    """One body, as it came."""
    out.one(api.call("GET", ("inbox", row)).data)


@inbox.command()
@click.argument("row")
@client_command
def process(api: Client, out: Output, row: str) -> None:
    """Read it once more. What was applied before stays as it is."""
    answer = api.call("POST", ("inbox", row, "process")).data
    out.said(answer, f"{row} is read again: {' '.join(answer['job_ids']) or 'there is nothing in it'}")
