"""`zapd tenants`."""

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command
from zapd.cli.output import Output


@click.group(cls=ListFirst)
def tenants() -> None:
    """Customers with keys and connections of their own. Without a command: list them."""


@tenants.command("list")
@click.option("--after")
@client_command
def list_tenants(api: Client, out: Output, after: str | None) -> None:
    """List them."""
    out.page(api.call("GET", "/tenants", query={"after": after}).data, "id", "name", "created_at")


@tenants.command()
@click.argument("name")
@click.option("--id", "tenant_id", help="Else one is made.")
@client_command
def create(api: Client, out: Output, name: str, tenant_id: str | None) -> None:
    """Make a tenant and its first key, which is shown this once."""
    out.one(api.call("POST", "/tenants", {"name": name, "id": tenant_id}).data, "id", "name", "key_id", "key")


@tenants.command()
@click.argument("tenant")
@click.confirmation_option(prompt="Everything of this tenant will be gone, in backups too. Go on?")
@client_command
def erase(api: Client, out: Output, tenant: str) -> None:
    """Delete TENANT with all it has. Its bodies can be read by nobody any more, in backups neither."""
    out.said(api.call("DELETE", f"/tenants/{tenant}").data, f"{tenant} is being erased")
