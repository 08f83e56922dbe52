"""`zapd connections`."""

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command, json_argument, one_of
from zapd.cli.output import Output
from zapd.model.session import TransportName

TEMPLATE_COLUMNS = ("name", "language", "state", "reason", "since", "until", "refused")
COLUMNS = ("id", "label", "transport", "state", "reason", "since")


@click.group(cls=ListFirst)
def connections() -> None:
    """WhatsApp accounts. Without a command: list them."""


@connections.command("list")
@click.option("--after")
@client_command
def list_connections(api: Client, out: Output, after: str | None) -> None:
    """List them."""
    out.page(api.call("GET", "/connections", query={"after": after}).data, *COLUMNS)


@connections.command()
@click.argument("transport", type=one_of(TransportName))
@click.option("--label", required=True)
@click.option("--id", "connection_id")
@click.option("--webhook-url", help="Gets every event of this connection, signed.")
@click.option("--config-json", help="Settings of the transport, as a JSON object; `-` reads them from standard input.")
@client_command
def create(
    api: Client,
    out: Output,
    transport: str,
    label: str,
    connection_id: str | None,
    webhook_url: str | None,
    config_json: str | None,
) -> None:
    """Connect an account."""
    body = {"transport": transport, "label": label, "id": connection_id, "webhook_url": webhook_url}
    if config_json is not None:
        body["config"] = json_argument(config_json, "--config-json")
    out.one(api.call("POST", "/connections", {k: v for k, v in body.items() if v is not None}).data)


@connections.command()
@click.argument("connection")
@client_command
def show(api: Client, out: Output, connection: str) -> None:
    """One connection."""
    out.one(api.call("GET", f"/connections/{connection}").data)


@connections.command()
@click.argument("connection")
@client_command
def qr(api: Client, out: Output, connection: str) -> None:
    """Show the code to scan."""
    path = f"/connections/{connection}/qr"
    if out.as_json:
        out.json(api.call("GET", path).data)
    else:
        click.echo(api.call("GET", path, accept="text/plain").body)


@connections.command()
@click.argument("connection")
@click.option("--label")
@click.option("--config-json", help="Settings to change, as a JSON object; `-` reads them from standard input.")
@client_command
def update(api: Client, out: Output, connection: str, label: str | None, config_json: str | None) -> None:
    """Change its label, its settings or its pace; what is not given stays."""
    body: dict[str, object] = {"label": label} if label else {}
    if config_json is not None:
        body["config"] = json_argument(config_json, "--config-json")
    out.one(api.call("PATCH", f"/connections/{connection}", body).data)


@connections.command()
@click.argument("connection")
@client_command
def close(api: Client, out: Output, connection: str) -> None:
    """Close it for good."""
    out.said(api.call("DELETE", f"/connections/{connection}").data, f"{connection} is closing")


@connections.command()
@click.argument("connection")
@client_command
def pause(api: Client, out: Output, connection: str) -> None:
    """Send nothing on it until it is resumed."""
    out.said(api.call("POST", f"/connections/{connection}/pause").data, f"{connection} is paused")


@connections.command()
@click.argument("connection")
@client_command
def resume(api: Client, out: Output, connection: str) -> None:
    """Send again."""
    out.said(api.call("POST", f"/connections/{connection}/resume").data, f"{connection} is resumed")


@connections.command()
@click.argument("connection")
@click.option("--phone", help="The account's number: a code is shown that is typed on that phone.")
@client_command
def pair(api: Client, out: Output, connection: str, phone: str | None) -> None:
    """Link the account, anew if it was logged out."""
    answer = api.call("POST", f"/connections/{connection}/pair", {"phone": phone} if phone else {}).data
    code = answer["pairing_code"]
    out.said(answer, f"type {code['code']} on the phone" if code else f"{connection} is {answer['state']}")


@connections.command()
@click.argument("connection")
@click.option("--after")
@click.option("--forget", nargs=2, metavar="NAME LANGUAGE", help="What was said of this one: it is tried again.")
@client_command
def templates(api: Client, out: Output, connection: str, after: str | None, forget: tuple[str, str] | None) -> None:
    """What Meta said of its templates: those that are paused or disabled are refused."""
    path = f"/connections/{connection}/templates"
    if forget is not None:
        name, language = forget
        api.call("DELETE", f"{path}/{name}/{language}")
        out.said({}, f"{name} ({language}) is tried again")
    else:
        out.page(api.call("GET", path, query={"after": after}).data, *TEMPLATE_COLUMNS)


@connections.command()
@click.argument("connection")
@client_command
def logout(api: Client, out: Output, connection: str) -> None:
    """Unlink the account; messages wait until it is paired again."""
    out.said(api.call("POST", f"/connections/{connection}/logout").data, f"{connection} is logged out")
