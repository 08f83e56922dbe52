"""`zapd media`."""

from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click

from zapd.cli.client import Client
from zapd.cli.options import client_command
from zapd.cli.output import Output

LONG = 300.0  #: seconds for a file to go over


@click.group()
def media() -> None:
    """Files of messages."""


@media.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--mime", help="Instead of what its name says; what its bytes say comes first.")
@click.option("--filename", help="What receivers see; else its own name.")
@client_command
def upload(api: Client, out: Output, file: Path, mime: str | None, filename: str | None) -> None:
    """Take a file in; its id goes into payloads as `media_id`."""
    kind = mime or guess_type(file.name)[0] or "application/octet-stream"
    query = {"filename": filename or file.name}
    try:
        content = file.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    answer = api.patient(LONG).call("POST", "/media", content, headers={"Content-Type": kind}, query=query).data
    out.said(answer, f"{answer['id']} {answer['mime']} {answer['size']} bytes")


@media.command()
@click.argument("file_id")
@client_command
def show(api: Client, out: Output, file_id: str) -> None:
    """What is known of a file, and a new link to it."""
    out.one(_found(api, file_id))


@media.command()
@click.argument("file_id")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to; else its own name, in this directory."
)
@client_command
def download(api: Client, out: Output, file_id: str, output: Path | None) -> None:
    """Save a file. One that is there already is not written over."""
    found = _found(api, file_id)
    if found["url"] is None:
        raise click.ClickException(f"{file_id} is {found['state']}: {found['error'] or 'it is not here yet'}")
    link = urlsplit(found["url"])
    content = api.patient(LONG).call("GET", link.path, accept="*/*", query=dict(parse_qsl(link.query))).body
    to = output or Path(Path(found["filename"] or file_id).name)
    try:
        with to.open("xb") as file:
            file.write(content)
    except OSError as error:
        raise click.ClickException(f"{to}: {error.strerror}") from None
    out.said({"id": file_id, "path": str(to), "size": len(content)}, f"{to}: {len(content)} bytes")


@media.command()
@click.argument("file_id")
@client_command
def delete(api: Client, out: Output, file_id: str) -> None:
    """Delete a file that no waiting message needs."""
    out.said(api.call("DELETE", ("media", file_id)).data, f"{file_id} is deleted")


def _found(api: Client, file_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.call("GET", ("media", file_id, "link")).data
    return found
