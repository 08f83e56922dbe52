"""`zapd deliveries`: what became of each webhook."""

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command, one_of
from zapd.cli.output import Output
from zapd.model.webhook import DeliveryState

COLUMNS = ("id", "endpoint_id", "event_type", "state", "attempts", "last_status", "last_error", "next_at")
TRIES = ("number", "started_at", "duration_ms", "status", "failure", "owner", "error")


@click.group(cls=ListFirst)
def deliveries() -> None:
    """Webhooks on their way. Without a command: list them."""


@deliveries.command("list")
@click.option("--endpoint")
@click.option("--state", type=one_of(DeliveryState))
@click.option("--after")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@client_command
def list_deliveries(
    api: Client, out: Output, endpoint: str | None, state: str | None, **page: str | int | None
) -> None:
    """List them, oldest first."""
    query = {"endpoint_id": endpoint, "state": state, **page}
    out.page(api.call("GET", "/deliveries", query=query).data, *COLUMNS)


@deliveries.command()
@click.argument("delivery")
@client_command
def show(api: Client, out: Output, delivery: str) -> None:
    """One delivery, with every try and whose fault a failure was."""
    found = api.call("GET", f"/deliveries/{delivery}").data
    if out.as_json:
        return out.json(found)
    out.one({name: value for name, value in found.items() if name != "tries"})
    click.echo()
    return out.table(found["tries"], *TRIES)


@deliveries.command()
@click.argument("delivery")
@client_command
def retry(api: Client, out: Output, delivery: str) -> None:
    """Send it again."""
    out.said(api.call("POST", f"/deliveries/{delivery}/retry").data, f"{delivery} is queued")


@deliveries.command()
@click.argument("delivery")
@client_command
def curl(api: Client, out: Output, delivery: str) -> None:
    """It as a curl command, signed now; secret header values are left out."""
    text = api.call("GET", f"/deliveries/{delivery}/curl").body.decode()
    out.said({"curl": text}, text.rstrip())
