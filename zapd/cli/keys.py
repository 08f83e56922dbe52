"""`zapd keys`."""

from typing import Any

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command
from zapd.cli.output import Output

SCOPES = ("read", "send", "control", "settings", "admin")
CREATED = ("id", "key", "label", "scopes", "connection_id", "expires_at")
COLUMNS = ("id", "label", "scopes", "connection_id", "created_at", "last_used_at", "revoked_at")


@click.group(cls=ListFirst)
def keys() -> None:
    """API keys. Without a command: list them."""


@keys.command("list")
@click.option("--after")
@client_command
def list_keys(api: Client, out: Output, after: str | None) -> None:
    """List them, revoked ones too."""
    out.page(api.call("GET", "/keys", query={"after": after}).data, *COLUMNS)


@keys.command()
@click.argument("label")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="May be repeated.")
@click.option("--connection", help="The only connection that the key may touch.")
@click.option("--expires-at", help="ISO 8601, with a time zone.")
@client_command
def create(
    api: Client, out: Output, label: str, scopes: tuple[str, ...], connection: str | None, expires_at: str | None
) -> None:
    """Make a key. It is shown this once."""
    body = {"label": label, "scopes": list(scopes), "connection_id": connection, "expires_at": expires_at}
    out.one(api.call("POST", "/keys", body).data, *CREATED)


@keys.command()
@click.argument("key")
@client_command
def rotate(api: Client, out: Output, key: str) -> None:
    """Make a key with the same rights, then end KEY. The new one is shown this once."""
    old = _found(api, key)
    body = {name: old[name] for name in ("label", "scopes", "connection_id", "expires_at")}
    made = api.call("POST", "/keys", body).data
    api.call("DELETE", f"/keys/{key}")
    out.one(made, *CREATED)


def _found(api: Client, key: str) -> dict[str, Any]:
    after: str | None = ""
    while after is not None:
        page = api.call("GET", "/keys", query={"after": after or None}).data
        for row in page["data"]:
            if row["id"] == key and row["revoked_at"] is None:
                return dict(row)
        after = page["next"]
    raise click.ClickException(f"there is no live key {key}")


@keys.command()
@click.argument("key")
@client_command
def revoke(api: Client, out: Output, key: str) -> None:
    """End a key."""
    out.said(api.call("DELETE", f"/keys/{key}").data, f"{key} is revoked")
