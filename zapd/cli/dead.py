"""`zapd dead`: jobs that were given up."""

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command
from zapd.cli.output import Output

COLUMNS = ("id", "queue", "at", "attempt", "reason", "error")


@click.group(cls=ListFirst)
def dead() -> None:
    """Dead letters. Without a command: list them."""


@dead.command("list")
@click.option("--queue")
@click.option("--after")
@client_command
def list_dead(api: Client, out: Output, queue: str | None, after: str | None) -> None:
    """List them, queue by queue."""
    out.page(api.call("GET", "/dead-letters", query={"queue": queue, "after": after}).data, *COLUMNS)


@dead.command()
@click.argument("ids", nargs=-1)
@click.option("--queue")
@click.option("--reason")
@client_command
def retry(api: Client, out: Output, ids: tuple[str, ...], queue: str | None, reason: str | None) -> None:
    """Run these jobs again, or all that fit."""
    body = {"queue": queue, "reason": reason, "ids": list(ids) or None}
    answer = api.call("POST", "/dead-letters/retry", body).data
    out.said(answer, f"{answer['retried']} retried, {answer['passed']} had moved on")


@dead.command()
@click.option("--queue")
@click.option("--reason")
@click.option("--all", "every", is_flag=True, help="Without any filter.")
@client_command
def purge(api: Client, out: Output, queue: str | None, reason: str | None, every: bool) -> None:
    """Delete dead letters that fit."""
    if not (queue or reason or every):
        raise click.UsageError("give --queue, --reason or --all")
    query = {"queue": queue, "reason": reason, "all": "true" if every else None}
    answer = api.call("DELETE", "/dead-letters", query=query).data
    out.said(answer, f"{answer['deleted']} deleted")
