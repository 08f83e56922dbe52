"""`zapd endpoints`."""

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command
from zapd.cli.output import Output

COLUMNS = ("id", "url", "types", "connection_id", "enabled", "disabled_reason")


@click.group(cls=ListFirst)
def endpoints() -> None:
    """URLs that get events. Without a command: list them."""


@endpoints.command("list")
@click.option("--after")
@client_command
def list_endpoints(api: Client, out: Output, after: str | None) -> None:
    """List them."""
    out.page(api.call("GET", "/endpoints", query={"after": after}).data, *COLUMNS)


@endpoints.command()
@click.argument("receiver")
@click.option("--type", "types", multiple=True, help="`*`, a name, or a family such as `message.*`; may be repeated.")
@click.option("--connection", help="Only events of this connection.")
@click.option("--format", "format_", type=click.Choice(["standard", "zaphub"]), default="standard", show_default=True)
@client_command
def create(
    api: Client, out: Output, receiver: str, types: tuple[str, ...], connection: str | None, format_: str
) -> None:
    """Subscribe the URL RECEIVER. The secret is shown this once."""
    body = {"url": receiver, "types": list(types) or ["*"], "connection_id": connection, "format": format_}
    out.one(api.call("POST", "/endpoints", body).data)


@endpoints.command()
@click.argument("endpoint")
@client_command
def show(api: Client, out: Output, endpoint: str) -> None:
    """One endpoint: whether it is enabled, and why not."""
    out.one(api.call("GET", f"/endpoints/{endpoint}").data)


@endpoints.command()
@click.argument("endpoint")
@client_command
def enable(api: Client, out: Output, endpoint: str) -> None:
    """Deliver to it again."""
    out.said(api.call("PATCH", f"/endpoints/{endpoint}", {"enabled": True}).data, f"{endpoint} is enabled")


@endpoints.command()
@click.argument("endpoint")
@client_command
def disable(api: Client, out: Output, endpoint: str) -> None:
    """Deliver nothing to it."""
    out.said(api.call("PATCH", f"/endpoints/{endpoint}", {"enabled": False}).data, f"{endpoint} is disabled")


@endpoints.command()
@click.argument("endpoint")
@client_command
def rotate(api: Client, out: Output, endpoint: str) -> None:
    """Give it a new secret; the old one goes on signing for a day."""
    out.one(api.call("POST", f"/endpoints/{endpoint}/rotate").data)


@endpoints.command()
@click.argument("endpoint")
@client_command
def delete(api: Client, out: Output, endpoint: str) -> None:
    """Unsubscribe it."""
    out.said(api.call("DELETE", f"/endpoints/{endpoint}").data, f"{endpoint} is deleted")
