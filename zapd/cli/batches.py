"""`zapd batches`: jobs that belong together."""

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command, one_of
from zapd.cli.output import Output
from zapd.model.batch import BatchState

COLUMNS = ("id", "kind", "state", "total", "succeeded", "failed", "pending", "created_at", "ended_at")


@click.group(cls=ListFirst)
def batches() -> None:
    """Batches and chains. Without a command: list them."""


@batches.command("list")
@click.option("--state", type=one_of(BatchState))
@click.option("--after")
@client_command
def list_batches(api: Client, out: Output, state: str | None, after: str | None) -> None:
    """List them, the newest first."""
    out.page(api.call("GET", "/batches", query={"state": state, "after": after}).data, *COLUMNS)


@batches.command()
@click.argument("batch")
@client_command
def show(api: Client, out: Output, batch: str) -> None:
    """One batch, with what has become of its jobs so far."""
    out.one(api.call("GET", f"/batches/{batch}").data)


@batches.command()
@click.argument("batch")
@click.option("--after")
@client_command
def jobs(api: Client, out: Output, batch: str, after: str | None) -> None:
    """The jobs of a batch, with their results."""
    page = api.call("GET", f"/batches/{batch}/jobs", query={"after": after}).data
    out.page(page, "position", "job_id", "queue", "state", "error", "result")
