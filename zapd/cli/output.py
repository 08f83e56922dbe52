"""Answers on the terminal: tables for people, the daemon's own JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

WIDE = 300  #: columns when the output is no terminal, so that nothing is cut


class Output:
    """Prints."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def page(self, answer: Mapping[str, Any], *columns: str) -> None:
        """A page of a list."""
        if self.as_json:
            return self.json(answer)
        self.table(answer["data"], *columns)
        if answer.get("next"):
            click.echo(f"more: --after {answer['next']}", err=True)
        return None

    def one(self, answer: Mapping[str, Any], *fields: str) -> None:
        """One thing: a field a line. Without names: all fields that have a value."""
        if self.as_json:
            return self.json(answer)
        shown = {name: answer.get(name) for name in fields or answer}
        width = max(map(len, shown), default=0)
        for name, value in shown.items():
            if fields or value not in (None, "", [], {}):
                click.echo(f"{name:<{width}}  {_text(value)}")
        return None

    def said(self, answer: Any, text: str) -> None:
        """What was done, in words."""
        if self.as_json:
            self.json(answer)
        else:
            click.echo(text)

    @contextmanager
    def progress(self, done: str) -> Iterator[Callable[[int, int | None], None]]:
        """A bar for long work, on standard error at a terminal. Call it with how much is done, of how much."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda _now, _total: None
            return
        from rich.console import Console  # noqa: PLC0415  # as below
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task(done, total=None)
            yield lambda now, total: shown.update(task, completed=now, total=total)

    def json(self, answer: Any) -> None:
        """The answer as it came."""
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))

    def table(self, rows: Sequence[Mapping[str, Any]], *columns: str) -> None:
        """Rows below their headings; a word when there are none."""
        if not rows:
            return click.echo("none", err=True)
        from rich.console import Console  # noqa: PLC0415  # takes 50 ms to import, and JSON needs none of it
        from rich.table import Table  # noqa: PLC0415

        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*[_text(row.get(column)) for column in columns])
        console = Console(width=None if sys.stdout.isatty() else WIDE, markup=False, highlight=False)
        with console.capture() as drawn:
            console.print(table)
        click.echo("\n".join(line.rstrip() for line in drawn.get().rstrip().splitlines()))
        return None


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
