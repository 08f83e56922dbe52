"""`zapd send` and `zapd messages`."""

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command, json_argument, one_of
from zapd.cli.output import Output
from zapd.model.message import Direction

COLUMNS = ("id", "direction", "status", "peer", "type", "created_at", "error")


@click.command()
@click.argument("connection")
@click.argument("to")
@click.argument("text", required=False)
@click.option("--type", "kind", default="text", show_default=True)
@click.option("--payload", help="The payload as JSON, instead of TEXT; `-` reads it from standard input.")
@click.option("--message-id", help="An id of your own: a second send with it is refused.")
@click.option("--priority", type=click.IntRange(1, 10))
@click.option("--send-at", help="Not before this time (ISO 8601).")
@click.option("--idempotency-key", help="The same key and message again give the first answer.")
@client_command
def send(
    api: Client,
    out: Output,
    connection: str,
    to: str,
    text: str | None,
    kind: str,
    payload: str | None,
    idempotency_key: str | None,
    **more: str | int | None,
) -> None:
    """Send a message: zapd send CONNECTION 5511999998888 "Olá"."""
    if (text is None) == (payload is None):
        raise click.UsageError("give TEXT or --payload")
    content = {"text": text} if payload is None else json_argument(payload, "--payload")
    body = {"to": to, "type": kind, "payload": content}
    body |= {name: value for name, value in more.items() if value is not None}
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    answer = api.call("POST", f"/connections/{connection}/send", body, headers=headers).data
    out.said(answer, f"{answer['id']} {answer['status']}")


@click.group(cls=ListFirst)
def messages() -> None:
    """Messages of a connection."""


@messages.command("list")
@click.argument("connection")
@click.option("--direction", type=one_of(Direction))
@click.option("--status")
@click.option("--after")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@client_command
def list_messages(api: Client, out: Output, connection: str, **query: str | int | None) -> None:
    """The history, oldest first."""
    out.page(api.call("GET", f"/connections/{connection}/messages", query=query).data, *COLUMNS)


@messages.command()
@click.argument("message")
@client_command
def show(api: Client, out: Output, message: str) -> None:
    """One message."""
    out.one(api.call("GET", f"/messages/{message}").data)


@messages.command()
@click.argument("message")
@client_command
def timeline(api: Client, out: Output, message: str) -> None:
    """Everything that happened to one message."""
    out.page(api.call("GET", f"/messages/{message}/timeline").data, "at", "kind", "what", "id")


@messages.command()
@click.argument("message")
@client_command
def retry(api: Client, out: Output, message: str) -> None:
    """Queue it again."""
    out.said(api.call("POST", f"/messages/{message}/retry").data, f"{message} is queued")


@messages.command()
@click.argument("message")
@client_command
def cancel(api: Client, out: Output, message: str) -> None:
    """Take it back while it waits."""
    out.said(api.call("DELETE", f"/messages/{message}").data, f"{message} is canceled")
