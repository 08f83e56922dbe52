"""`zapd keys`."""

import time

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command
from zapd.cli.output import Output

SCOPES = ("read", "send", "control", "settings", "admin")
CREATED = ("id", "key", "label", "scopes", "connection_id", "expires_at")
COLUMNS = ("id", "label", "scopes", "connection_id", "created_at", "last_used_at", "expires_at", "revoked_at")


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
@click.option("--rate", type=click.IntRange(1), help="Requests a minute; else the daemon's limit.")
@click.option("--tenant", help="Whose key it is; only the operator makes keys for others.")
@client_command
def create(
    api: Client,
    out: Output,
    label: str,
    scopes: tuple[str, ...],
    connection: str | None,
    expires_at: str | None,
    rate: int | None,
    tenant: str | None,
) -> None:
    """Make a key. It is shown this once."""
    body = {
        "label": label,
        "scopes": list(scopes),
        "connection_id": connection,
        "expires_at": expires_at,
        "rate_per_minute": rate,
        "tenant": tenant,
    }
    out.one(api.call("POST", "/keys", body).data, *CREATED)


@keys.command()
@click.argument("key")
@click.option("--overlap", type=click.IntRange(0), default=86_400, show_default=True, help="Seconds the old one works.")
@client_command
def rotate(api: Client, out: Output, key: str, overlap: int) -> None:
    """Make a key with the same rights; KEY goes on working for the overlap. The new one is shown this once."""
    out.one(api.call("POST", f"/keys/{key}/rotate", {"overlap": overlap}).data, *CREATED)


@keys.command()
@click.argument("key")
@client_command
def revoke(api: Client, out: Output, key: str) -> None:
    """End a key."""
    out.said(api.call("DELETE", f"/keys/{key}").data, f"{key} is revoked")


@keys.command("rotate-data")
@click.option("--wait/--no-wait", default=True, help="Until everything is sealed anew.")
@client_command
def rotate_data(api: Client, out: Output, wait: bool) -> None:
    """Encrypt all stored bodies under new data keys, while the daemon runs."""
    started = api.call("POST", "/privacy/rotation").data
    if not wait:
        out.said(started, "sealing under new keys has begun")
        return
    with out.progress("rows sealed under new keys") as told:
        while (standing := api.call("GET", "/privacy/rotation").data)["state"] == "running":
            told(standing["rows"], None)
            time.sleep(0.3)
    out.said(standing, f"{standing['rows']} rows are sealed under new keys")
