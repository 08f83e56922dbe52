"""`zapd contacts`."""

from urllib.parse import quote

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command
from zapd.cli.output import Output

COLUMNS = ("id", "name", "phone", "opted_out", "opted_out_by", "updated_at")


@click.group(cls=ListFirst)
def contacts() -> None:
    """The people whom the connections know. Without a command: list them."""


@contacts.command("list")
@click.option("--opted-out/--opted-in", default=None, help="Only those who want no messages, or only the others.")
@click.option("--known-as", help="A phone number in any spelling, a JID, lid or business-scoped id.")
@click.option("--after")
@client_command
def list_contacts(api: Client, out: Output, opted_out: bool | None, known_as: str | None, after: str | None) -> None:
    """List them."""
    flag = None if opted_out is None else str(opted_out).lower()
    query = {"opted_out": flag, "known_as": known_as, "after": after}
    out.page(api.call("GET", "/contacts", query=query).data, *COLUMNS)


@contacts.command()
@click.argument("contact")
@client_command
def show(api: Client, out: Output, contact: str) -> None:
    """One contact."""
    out.one(api.call("GET", f"/contacts/{contact}").data)


@contacts.command("opt-out")
@click.argument("contact")
@client_command
def opt_out(api: Client, out: Output, contact: str) -> None:
    """Send them nothing more."""
    out.said(api.call("PATCH", f"/contacts/{contact}", {"opted_out": True}).data, f"{contact} gets no more messages")


@contacts.command("opt-in")
@click.argument("contact")
@client_command
def opt_in(api: Client, out: Output, contact: str) -> None:
    """Send them messages again."""
    out.said(api.call("PATCH", f"/contacts/{contact}", {"opted_out": False}).data, f"{contact} gets messages again")


@contacts.command()
@click.argument("contact")
@click.argument("other")
@client_command
def merge(api: Client, out: Output, contact: str, other: str) -> None:
    """OTHER is the same person as CONTACT, and goes."""
    body = {"contact_id": other}
    out.said(api.call("POST", f"/contacts/{contact}/merge", body).data, f"{other} is {contact} now")


@contacts.command()
@click.argument("contact")
@client_command
def delete(api: Client, out: Output, contact: str) -> None:
    """Forget a contact; its messages stay until their retention."""
    out.said(api.call("DELETE", f"/contacts/{contact}").data, f"{contact} is forgotten")


@contacts.command()
@click.argument("person")
@client_command
def export(api: Client, out: Output, person: str) -> None:
    """Everything kept of PERSON, as JSON: a contact's id, a phone number or a JID."""
    out.json(api.call("GET", f"/contacts/{quote(person, safe='')}/export").data)


@contacts.command()
@click.argument("person")
@click.confirmation_option(prompt="Everything kept of this person will be deleted. Go on?")
@client_command
def erase(api: Client, out: Output, person: str) -> None:
    """Delete everything kept of PERSON, and say what was removed."""
    done = api.call("POST", f"/contacts/{quote(person, safe='')}/erase").data
    if out.as_json:
        return out.json(done)
    out.table([{"table": table, "rows": rows} for table, rows in done["removed"].items() if rows], "table", "rows")
    for contact, why in done["kept"].items():
        click.echo(f"kept {contact}: {why}")
    return None
