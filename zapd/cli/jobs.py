"""`zapd jobs`: the jobs of a queue."""

import json
import sys
from typing import Any

import click

from zapd.cli.client import Client
from zapd.cli.options import client_command, json_argument
from zapd.cli.output import Output

COLUMNS = ("id", "state", "kind", "lane", "priority", "attempt", "at", "error")
STATES = ("waiting", "active", "delayed", "staged", "completed", "dead")
STEP = 1_000  #: jobs in one request, so that progress can be shown


@click.group()
def jobs() -> None:
    """Jobs: list those of a queue, look at one, add, cancel, run again."""


@jobs.command("list")
@click.argument("queue")
@click.option("--state", type=click.Choice(STATES), default="waiting", show_default=True)
@click.option("--after")
@client_command
def list_jobs(api: Client, out: Output, queue: str, state: str, after: str | None) -> None:
    """The jobs of QUEUE in one state."""
    out.page(api.call("GET", f"/queues/{queue}/jobs", query={"state": state, "after": after}).data, *COLUMNS)


@jobs.command()
@click.argument("job")
@client_command
def show(api: Client, out: Output, job: str) -> None:
    """One job: state, tries, progress, log, error, payload."""
    out.one(api.call("GET", f"/jobs/{job}").data)


@jobs.command()
@click.argument("queue")
@click.option("--payload", metavar="JSON", help="Of one job.")
@click.option("--kind", default="")
@click.option("--lane", default="")
@click.option("--priority", type=click.IntRange(1, 10))
@click.option("--run-at", metavar="TIME", help="Not before, as 2026-11-27T12:00:00Z.")
@client_command
def add(api: Client, out: Output, queue: str, payload: str | None, run_at: str | None, **given: Any) -> None:
    """Put a job into QUEUE; without --payload, one for each line of JSON on standard input."""
    if payload is not None:
        item = {"payload": json_argument(payload, "--payload"), "run_at": run_at, **given}
        items = [{name: value for name, value in item.items() if value not in (None, "") or name == "payload"}]
    else:
        items = [_item(number, line) for number, line in enumerate(sys.stdin, 1) if line.strip()]
    results: list[dict[str, Any]] = []
    with out.progress("enqueued") as bar:
        for start in range(0, len(items), STEP):
            body = {"jobs": items[start : start + STEP]}
            results += api.call("POST", f"/queues/{queue}/jobs", body).data["data"]
            bar(len(results), len(items))
    bad = [(n, result) for n, result in enumerate(results, 1) if result["status"] in ("invalid", "rejected")]
    for number, result in bad[:20]:
        rules = "; ".join(f"{e['field']}: {e['rule']}" for e in result["errors"])
        click.echo(f"job {number}: {result['status']}: {rules}", err=True)
    out.said({"data": results}, f"{len(results) - len(bad)} of {len(results)} jobs taken")
    if bad:
        sys.exit(1)


@jobs.command()
@click.argument("job")
@client_command
def retry(api: Client, out: Output, job: str) -> None:
    """Run a dead job again."""
    out.said(api.call("POST", f"/jobs/{job}/retry").data, f"{job} queued")


@jobs.command()
@click.argument("job")
@client_command
def cancel(api: Client, out: Output, job: str) -> None:
    """Cancel a job that waits, is delayed or runs."""
    api.call("DELETE", f"/jobs/{job}")
    out.said({"id": job}, f"{job} canceled")


def _item(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise click.ClickException(f"line {number} is not JSON: {error}") from None
