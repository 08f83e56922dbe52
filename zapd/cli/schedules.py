"""`zapd schedules`: what happens by the clock."""

from typing import Any

import click

from zapd.cli.client import Client
from zapd.cli.options import Command, Decorator, ListFirst, client_command, json_argument
from zapd.cli.output import Output

COLUMNS = ("id", "cron", "every", "timezone", "queue", "emit", "paused", "next", "fires", "last_fired_at")


def described(command: Command) -> Command:
    """The options that say when and what."""
    options: list[Decorator] = [
        click.option("--cron", metavar="LINE", help="minute hour day month weekday"),
        click.option("--every", metavar="SPAN", help="Instead of --cron: 30s, 10m, 1d …"),
        click.option("--timezone", help="Of the cron line; UTC by default."),
        click.option("--jitter", metavar="SPAN", help="Come later by up to so much."),
        click.option("--misfire", help="skip, once or all(n)."),
        click.option("--queue", help="Enqueue a job there."),
        click.option("--emit", metavar="TYPE", help="Or let this event happen."),
        click.option("--kind"),
        click.option("--lane"),
        click.option("--priority", type=click.IntRange(1, 10)),
        click.option("--payload", metavar="JSON"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=ListFirst)
def schedules() -> None:
    """Schedules. Without a command: list them."""


@schedules.command("list")
@click.option("--after")
@client_command
def list_schedules(api: Client, out: Output, after: str | None) -> None:
    """List them, those of the configuration too."""
    answer = api.call("GET", "/schedules", query={"after": after}).data
    if not out.as_json:
        for row in answer["data"]:
            row["next"] = row["next"][0] if row["next"] else None
    out.page(answer, *COLUMNS)


@schedules.command()
@click.argument("schedule")
@client_command
def show(api: Client, out: Output, schedule: str) -> None:
    """One schedule, with its coming fires."""
    out.one(api.call("GET", f"/schedules/{schedule}").data)


@schedules.command()
@click.option("--id", "schedule_id", metavar="ID")
@described
@client_command
def create(api: Client, out: Output, schedule_id: str | None, **given: Any) -> None:
    """Make a schedule."""
    made = api.call("POST", "/schedules", _body({"id": schedule_id, **given})).data
    out.said(made, f"{made['id']} fires next at {made['next'][0]}")


@schedules.command()
@click.argument("schedule")
@described
@client_command
def update(api: Client, out: Output, schedule: str, **given: Any) -> None:
    """Change what is given."""
    made = api.call("PATCH", f"/schedules/{schedule}", _body(given)).data
    out.said(made, f"{made['id']} changed" + (f", fires next at {made['next'][0]}" if made["next"] else ""))


@schedules.command()
@click.argument("schedule")
@client_command
def delete(api: Client, out: Output, schedule: str) -> None:
    """Delete a schedule."""
    api.call("DELETE", f"/schedules/{schedule}")
    out.said({"id": schedule}, f"{schedule} deleted")


@schedules.command()
@click.argument("schedule")
@client_command
def run(api: Client, out: Output, schedule: str) -> None:
    """Fire once now."""
    answer = api.call("POST", f"/schedules/{schedule}/run").data
    out.said(answer, f"made {answer['made']}")


@schedules.command()
@click.argument("schedule")
@client_command
def pause(api: Client, out: Output, schedule: str) -> None:
    """Fire no slot until it is resumed."""
    out.said(api.call("POST", f"/schedules/{schedule}/pause").data, f"{schedule} paused")


@schedules.command()
@click.argument("schedule")
@client_command
def resume(api: Client, out: Output, schedule: str) -> None:
    """Fire again."""
    answer = api.call("POST", f"/schedules/{schedule}/resume").data
    out.said(answer, f"{schedule} fires next at {answer['next'][0]}")


def _body(given: dict[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in given.items() if value is not None}
    if "payload" in body:
        body["payload"] = json_argument(body["payload"], "--payload")
    return body
