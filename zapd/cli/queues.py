"""`zapd queues`."""

from typing import Any

import click

from zapd.cli.client import Client
from zapd.cli.options import ListFirst, client_command, json_argument
from zapd.cli.output import Output

COLUMNS = (
    "name",
    "paused",
    "priority",
    "waiting",
    "staged",
    "active",
    "delayed",
    "dead",
    "completed",
    "oldest_waiting_seconds",
    "rate_in",
    "rate_out",
    "failure_rate",
    "utilisation",
    "time_to_clear",
)
LANES = ("name", "staged", "in_flight", "paused", "next_at", "rate", "burst", "cap")


@click.group(cls=ListFirst)
def queues() -> None:
    """The queues. Without a command: list them."""


@queues.command("list")
@client_command
def list_queues(api: Client, out: Output) -> None:
    """Every queue with its numbers."""
    out.page(api.call("GET", "/queues").data, *COLUMNS)


@queues.command()
@click.argument("queue")
@client_command
def show(api: Client, out: Output, queue: str) -> None:
    """QUEUE with its limits."""
    found = api.call("GET", f"/queues/{queue}").data
    out.one(found if out.as_json else {**found, **found["limits"]})


@queues.command("set")
@click.argument("queue")
@click.argument("limits", nargs=-1, required=True, metavar="LIMIT=VALUE…")
@client_command
def set_limits(api: Client, out: Output, queue: str, limits: tuple[str, ...]) -> None:
    """Change limits of QUEUE, such as max_concurrency=80 or rate=600/min; an empty value takes the file's again."""
    changes = dict(_limit(limit) for limit in limits)
    found = api.call("PATCH", f"/queues/{queue}", changes).data
    out.one(found if out.as_json else found["limits"])


@queues.command()
@click.argument("limits", nargs=-1, metavar="[LIMIT=VALUE…]")
@click.option("--tenant", help="The limits of this tenant: rate, burst, max_in_flight.")
@client_command
def limits(api: Client, out: Output, limits: tuple[str, ...], tenant: str | None) -> None:
    """Limits over all queues, of all jobs and of each tenant: shown, or changed, such as tenant_rate=600/min.

    An empty value takes the file's again. With --tenant all three of the tenant's limits are set; without any
    LIMIT=VALUE it is given back to those of all.
    """
    changes: Any = dict(_limit(limit) for limit in limits)
    if tenant:
        changes = {"tenants": {tenant: changes or None}}
    found = (api.call("PATCH", "/queues", changes) if changes else api.call("GET", "/queues/limits")).data
    out.one(found)


@queues.command()
@click.argument("queue")
@click.option("--after", help="Continue here.")
@client_command
def lanes(api: Client, out: Output, queue: str, after: str | None) -> None:
    """The lanes of QUEUE that have jobs, run or are paused."""
    out.page(api.call("GET", f"/queues/{queue}/lanes", query={"after": after}).data, *LANES)


@queues.command()
@click.argument("queue")
@client_command
def quarantine(api: Client, out: Output, queue: str) -> None:
    """What lay in the streams of QUEUE and zapd did not write."""
    out.page(api.call("GET", f"/queues/{queue}/quarantine").data, "at", "stream", "entry", "fields")


@queues.command()
@click.argument("job")
@click.argument("priority", type=click.IntRange(1, 10))
@client_command
def prioritize(api: Client, out: Output, job: str, priority: int) -> None:
    """Give JOB, which waits, another PRIORITY: 1 to 10, the higher the more urgent."""
    answer = api.call("PATCH", f"/jobs/{job}", {"priority": priority}).data
    out.said(answer, f"{answer['id']} has priority {answer['priority']}")


@queues.command()
@click.argument("queue", required=False)
@click.option("--kind", help="Only jobs of this kind.")
@click.option("--lane", help="Only this lane.")
@client_command
def pause(api: Client, out: Output, queue: str | None, kind: str | None, lane: str | None) -> None:
    """Claim nothing from QUEUE, or from any queue, until it is resumed."""
    _switch(api, out, "pause", queue, kind, lane)


@queues.command()
@click.argument("queue", required=False)
@click.option("--kind", help="Only jobs of this kind.")
@click.option("--lane", help="Only this lane.")
@client_command
def resume(api: Client, out: Output, queue: str | None, kind: str | None, lane: str | None) -> None:
    """Claim from QUEUE, or from every queue, again."""
    _switch(api, out, "resume", queue, kind, lane)


@queues.command()
@click.argument("queue", required=False)
@client_command
def clean(api: Client, out: Output, queue: str | None) -> None:
    """Drop jobs past their retention, of QUEUE or of all."""
    answer = api.call("POST", "/api/queue/clean", {"queue": queue} if queue else {}).data
    out.said(answer, f"{sum(answer['data']['cleaned'].values())} jobs dropped")


def _switch(api: Client, out: Output, verb: str, queue: str | None, kind: str | None, lane: str | None) -> None:
    if queue is None and (kind or lane):
        raise click.UsageError("--kind and --lane need the QUEUE that they are of")
    if kind and lane:
        raise click.UsageError("--kind and --lane do not go together")
    path = ["queues", *([queue] if queue else []), *(["lanes", lane] if lane else []), verb]
    answer = api.call("POST", path, {"kind": kind} if kind else None).data
    said = [f"paused: {' '.join(answer['paused']) or 'none'}"]
    for what in ("kinds", "lanes"):
        said += [f"paused {what} of {name}: {' '.join(found)}" for name, found in answer[what].items()]
    out.said(answer, "\n".join(said))


def _limit(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text}: write it as LIMIT=VALUE", param_hint="LIMIT")
    if not value:
        return name, None
    return name, json_argument(value, name) if value.replace(".", "", 1).isdigit() else value
