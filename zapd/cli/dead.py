"""`zapd dead`: jobs that were given up."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from zapd.cli.client import Client
from zapd.cli.options import Command, Decorator, ListFirst, client_command, json_argument
from zapd.cli.output import Output

COLUMNS = ("id", "queue", "at", "attempt", "bytes", "reason", "error")
STEP = 500  #: letters deleted or exported per request, so that progress can be shown
MOST = 10_000  #: letters that the daemon retries per request


def filtered(command: Command) -> Command:
    """The filters that commands share."""
    options: list[Decorator] = [
        click.option("--queue"),
        click.option("--reason", help="attempts, poison, expired, malformed, or a handler's own."),
        click.option("--kind"),
        click.option("--since", metavar="TIME", help="Died at or after, as 2026-11-27T00:00:00Z."),
        click.option("--until", metavar="TIME", help="Died before."),
        click.option("--text", help="In error, reason, id, kind or lane."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=ListFirst)
def dead() -> None:
    """Dead letters. Without a command: list them."""


@dead.command("list")
@filtered
@click.option("--after")
@click.option("--limit", type=click.IntRange(1, 1000))
@client_command
def list_dead(api: Client, out: Output, **query: Any) -> None:
    """List them, the newest first."""
    out.page(api.call("GET", "/dead-letters", query=query).data, *COLUMNS)


@dead.command()
@click.argument("letter")
@client_command
def show(api: Client, out: Output, letter: str) -> None:
    """One dead letter with its payload."""
    out.one(api.call("GET", f"/dead-letters/{letter}").data)


@dead.command()
@click.argument("ids", nargs=-1)
@filtered
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="At most so many per second.")
@click.option("--payload", metavar="JSON", help="Another payload, for one ID; - reads standard input.")
@client_command
def retry(
    api: Client, out: Output, ids: tuple[str, ...], rate: float | None, payload: str | None, **wanted: Any
) -> None:
    """Run these jobs again, or all that fit, the oldest first."""
    if payload is not None:
        if len(ids) != 1:
            raise click.UsageError("--payload is for one ID")
        body = {"payload": json_argument(payload, "--payload")}
        answer = api.call("POST", f"/dead-letters/{ids[0]}/retry", body).data
    else:
        answer = _retry_all(api, out, {**wanted, "ids": list(ids) or None, "rate": rate})
    last = f"; the last one starts at {answer['last_at']}" if answer.get("last_at") else ""
    moved = answer["retried"] + answer["passed"]
    if moved < len(set(ids)):
        raise click.ClickException(f"{len(set(ids)) - moved} of them are no dead letters; {moved} were retried")
    out.said(answer, f"{answer['retried']} retried, {answer['passed']} had moved on{last}")


@dead.command()
@filtered
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="A file; else standard output.")
@client_command
def export(api: Client, out: Output, output: Path | None, **wanted: Any) -> None:
    """Print them as JSON lines, the newest first."""
    after, lines = None, 0
    with out.progress("exported") as bar:
        target = output.open("w", encoding="utf-8") if output else sys.stdout
        while True:
            page = api.call("GET", "/dead-letters", query={**wanted, "after": after, "limit": STEP}).data
            target.writelines(json.dumps(letter, ensure_ascii=False) + "\n" for letter in page["data"])
            lines += len(page["data"])
            bar(lines, None)
            after = page["next"]
            if after is None:
                break
        target.flush()
    if output:
        target.close()
        click.echo(f"{lines} dead letters written to {output}", err=True)


@dead.command()
@click.argument("ids", nargs=-1)
@filtered
@click.option("--all", "every", is_flag=True, help="Without any filter.")
@client_command
def purge(api: Client, out: Output, ids: tuple[str, ...], every: bool, **wanted: Any) -> None:
    """Delete dead letters: these, or all that fit."""
    if not (ids or every or any(wanted.values())):
        raise click.UsageError("give IDS, a filter or --all")
    deleted = 0
    if ids:
        for letter in ids:
            api.call("DELETE", f"/dead-letters/{letter}")
        deleted = len(ids)
    else:
        query = {**wanted, "all": "true" if every else None, "limit": STEP}
        with out.progress("deleted") as bar:
            left = 1
            while left:
                answer = api.call("DELETE", "/dead-letters", query=query).data
                deleted, left = deleted + answer["deleted"], answer["left"] if answer["deleted"] else 0
                bar(deleted, deleted + left)
    out.said({"deleted": deleted}, f"{deleted} deleted")


def _retry_all(api: Client, out: Output, body: dict[str, Any]) -> dict[str, Any]:
    """As many calls as it takes; each takes the 10,000 oldest that are left."""
    total: dict[str, Any] = {"retried": 0, "passed": 0, "last_at": None}
    with out.progress("retried") as bar:
        while True:
            answer = api.call("POST", "/dead-letters/retry", body).data
            took = answer["retried"] + answer["passed"]
            total["retried"] += answer["retried"]
            total["passed"] += answer["passed"]
            total["last_at"] = answer["last_at"] or total["last_at"]
            bar(total["retried"] + total["passed"], None)
            if took < MOST:
                return total
