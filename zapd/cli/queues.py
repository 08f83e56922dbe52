"""`zapd queues`."""

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command
from zapd.cli.output import Output

COLUMNS = ("name", "paused", "priority", "waiting", "staged", "active", "delayed", "dead", "completed")


@click.group(cls=ListFirst)
def queues() -> None:
    """The queues. Without a command: list them."""


@queues.command("list")
@client_command
def list_queues(api: Client, out: Output) -> None:
    """Every queue with its numbers."""
    out.page(api.call("GET", "/queues").data, *COLUMNS)


@queues.command()
@click.argument("queue", required=False)
@client_command
def pause(api: Client, out: Output, queue: str | None) -> None:
    """Claim nothing from QUEUE, or from any queue, until it is resumed."""
    _switch(api, out, queue, "pause")


@queues.command()
@click.argument("queue", required=False)
@client_command
def resume(api: Client, out: Output, queue: str | None) -> None:
    """Claim from QUEUE, or from every queue, again."""
    _switch(api, out, queue, "resume")


@queues.command()
@click.argument("queue", required=False)
@client_command
def clean(api: Client, out: Output, queue: str | None) -> None:
    """Drop jobs past their retention, of QUEUE or of all."""
    answer = api.call("POST", "/api/queue/clean", {"queue": queue} if queue else {}).data
    out.said(answer, f"{sum(answer['data']['cleaned'].values())} jobs dropped")


def _switch(api: Client, out: Output, queue: str | None, verb: str) -> None:
    answer = api.call("POST", f"/queues/{queue}/{verb}" if queue else f"/queues/{verb}").data
    out.said(answer, f"paused: {' '.join(answer['paused']) or 'none'}")
