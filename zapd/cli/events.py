"""`zapd events`: the event log."""

from typing import Any

import click

from zapd.cli.by_hand import ByHand, by_hand_command
from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command, json_argument
from zapd.cli.output import Output

COLUMNS = ("created_at", "type", "connection_id", "message_id", "severity", "id")


@click.group(cls=ListFirst)
def events() -> None:
    """What happened. Without a command: list it."""


@events.command("list")
@click.option("--type", "type_")
@click.option("--category")
@click.option("--connection")
@click.option("--source")
@click.option("--after")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@client_command
def list_events(
    api: Client, out: Output, type_: str | None, category: str | None, connection: str | None, **page: Any
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


@events.command()
@click.argument("event")
@client_command
def why(api: Client, out: Output, event: str) -> None:
    """Each rule that an event met: matched, or not, and because of what."""
    found = api.call("GET", f"/events/{event}/why").data
    lines = [{"rule": line["route"], **line} for line in found["routes"]]
    lines += [{"rule": name, "matched": True, "because": "listens"} for name in found["listeners"]]
    if out.as_json:
        out.one(found)
    else:
        out.page({"data": lines, "next": None}, "rule", "matched", "because")


@events.command()
@click.argument("type_", metavar="TYPE")
@click.argument("data", default="{}")
@click.option("--id", "id_", help="An id of your own: the same id is kept once.")
@click.option("--delay", default="0", help="How long until its rules run: seconds, or such as 2h.")
@click.option("--occurred-at", help="When it happened (ISO 8601, with a time zone).")
@click.option("--sync", is_flag=True, help="Run the listeners before it returns.")
@click.option("--idempotency-key")
@client_command
def emit(
    api: Client,
    out: Output,
    type_: str,
    data: str,
    id_: str | None,
    delay: str,
    occurred_at: str | None,
    sync: bool,
    idempotency_key: str | None,
) -> None:
    """Tell zapd that something happened. DATA is JSON, `-` reads it from standard input."""
    body = {"type": type_, "data": json_argument(data, "DATA"), "id": id_, "sync": sync, "occurred_at": occurred_at}
    body["delay"] = float(delay) if delay.replace(".", "", 1).isdigit() else delay
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    out.one(api.call("POST", "/events", body, headers=headers).data)


@events.command()
@click.option("--type", "types", multiple=True, help="A name or a family such as `lead.*`; may be given again.")
@click.option("--source")
@click.option("--since", help="ISO 8601 with a time zone.")
@click.option("--until", help="ISO 8601 with a time zone.")
@click.option("--only-failed", is_flag=True)
@click.option("--limit", type=click.IntRange(1, 1_000_000))
@click.option("--mode", type=click.Choice(["routes", "deliver"]), default="routes", show_default=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True, max=60_000), default=600, show_default=True)
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@client_command
def replay(api: Client, out: Output, types: tuple[str, ...], **which: Any) -> None:
    """Take stored events again: through today's rules, or to endpoints that lack them."""
    body = {"types": list(types) or ["*"], **which}
    found = api.call("POST", "/events/replay", body).data
    if which["dry_run"] and not out.as_json:
        lines = [
            {**line, "routes": ", ".join(line["routes"]), "errors": "; ".join(line["errors"])} for line in found["data"]
        ]
        out.page({"data": lines, "next": None}, "event_id", "type", "routes", "errors")
    else:
        out.one(found)


@events.command()
@click.argument("limit", type=click.IntRange(1, 1_000), default=10)
@by_hand_command
def process(hub: ByHand, out: Output, limit: int) -> None:
    """Take the LIMIT oldest events that wait through the rules. Without a daemon: and do what they ask for."""
    out.one(hub.process(limit))


@events.command("retry-failed")
@click.argument("limit", type=click.IntRange(1, 1_000), default=10)
@by_hand_command
def retry_failed(hub: ByHand, out: Output, limit: int) -> None:
    """Try the LIMIT oldest failed events and dead actions again."""
    out.one(hub.retry_failed(limit))
