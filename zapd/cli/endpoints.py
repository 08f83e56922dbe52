"""`zapd endpoints`."""

from collections.abc import Mapping
from typing import Any

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command, one_of
from zapd.cli.output import Output
from zapd.model.webhook import BodyFormat

PINGS = ("ping", "taken", "status", "duration_ms", "failure", "owner", "error")
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


def shaping(command: Any) -> Any:
    """The options of `create` and `update` that say how an endpoint wants its events."""
    for option in reversed(SHAPING):
        command = option(command)
    return command


SHAPING = (
    click.option(
        "--type", "types", multiple=True, help="`*`, a name, or a family such as `message.*`; may be repeated."
    ),
    click.option("--channel", "channels", multiple=True, help="Connection or one of `data.channels`; repeatable."),
    click.option("--filter", help="JMESPath: only events for which it holds."),
    click.option("--transform", help="JMESPath: its result is the body."),
    click.option("--order-by", help="JMESPath: events with the same result go in order, such as `connection_id`."),
    click.option("--header", "headers", multiple=True, metavar="NAME: VALUE", help="Sent with each POST; repeatable."),
    click.option("--rate-per-minute", type=int, help="POSTs a minute."),
    click.option("--concurrency", type=int, help="POSTs at once."),
    click.option("--batch-size", type=int, help="Events in one POST at most."),
    click.option("--batch-wait", type=float, help="Seconds that the oldest event waits for company."),
)


@endpoints.command()
@click.argument("receiver")
@click.option("--connection", "connection_id", help="Only events of this connection.")
@click.option("--format", type=one_of(BodyFormat), default="standard", show_default=True)
@click.option("--signing", type=click.Choice(["v1", "v1a"]), multiple=True, help="HMAC or ed25519; may be repeated.")
@shaping
@client_command
def create(api: Client, out: Output, receiver: str, **given: Any) -> None:
    """Subscribe the URL RECEIVER. The secret is shown this once."""
    out.one(api.call("POST", "/endpoints", {"url": receiver, **_body(given)}).data)


@endpoints.command()
@click.argument("endpoint")
@click.option("--url", help="Where it is now.")
@shaping
@client_command
def update(api: Client, out: Output, endpoint: str, **given: Any) -> None:
    """Change what is given."""
    out.one(api.call("PATCH", f"/endpoints/{endpoint}", _body(given)).data)


def _body(given: Mapping[str, Any]) -> dict[str, Any]:
    body = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}
    if "headers" in body:
        pairs = [header.partition(":") for header in body["headers"]]
        body["headers"] = {name.strip(): value.strip() for name, _, value in pairs}
    return body


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


@endpoints.command()
@click.argument("endpoint")
@client_command
def ping(api: Client, out: Output, endpoint: str) -> None:
    """Show that the receiver holds the newest secret and checks it."""
    found = api.call("POST", f"/endpoints/{endpoint}/ping").data
    if out.as_json:
        return out.json(found)
    out.one({"proven": found["proven"], "verifies": found["verifies"]})
    click.echo()
    return out.table([{"ping": name, **found[name]} for name in ("right", "wrong")], *PINGS)


@endpoints.command("drop-old-secrets")
@click.argument("endpoint")
@click.option("--force", is_flag=True, help="Also without the evidence of a ping.")
@client_command
def drop_old_secrets(api: Client, out: Output, endpoint: str, force: bool) -> None:
    """Let the old secrets sign no more."""
    made = api.call("POST", f"/endpoints/{endpoint}/drop-old-secrets", {"force": force}).data
    out.said(made, f"{endpoint} signs with its newest secret only")


@endpoints.command()
@click.argument("endpoint")
@click.option("--since", required=True, help="ISO 8601, with a time zone.")
@click.option("--until", help="ISO 8601, with a time zone; now when not given.")
@click.option("--all", "everything", is_flag=True, help="Also events that it never had.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--rate", type=int, help="Deliveries a minute.")
@client_command
def recover(api: Client, out: Output, endpoint: str, everything: bool, **given: Any) -> None:
    """Deliver what it missed."""
    body = {name: value for name, value in given.items() if value is not None} | {"only_failed": not everything}
    out.one(api.call("POST", f"/endpoints/{endpoint}/recover", body).data)


@endpoints.command("events")
@click.argument("endpoint")
@click.option("--after", type=int, default=0, show_default=True, help="The last number that the receiver saw.")
@client_command
def events_of(api: Client, out: Output, endpoint: str, after: int) -> None:
    """What it gets, by number without gaps."""
    page = api.call("GET", f"/endpoints/{endpoint}/events", query={"after": str(after)}).data
    out.page(page, "seq", "id", "type", "created_at", "state")
