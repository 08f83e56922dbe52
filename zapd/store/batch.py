"""The group commit as a piece of work, without input or output: which statements, in which order.

1. All guards, a statement for each command.
2. Everything that follows a guard that took effect, a statement for each command.
Within each step, two changes of the same row go in successive rounds, first come first done: in one UPDATE the
second would be lost silently.

A statement that fails takes the whole transaction with it. Then the commits are done again one by one, each behind a
savepoint, so that only the culprit hears of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from zapd.errors import Unavailable
from zapd.store.commands import MAX_ROWS, Change, Command, Insert, Row, Statement, Statements
from zapd.store.link import Work

Result = Row | None | Exception

_BEGIN = {"sqlite": Statement("BEGIN IMMEDIATE"), "postgresql": Statement("BEGIN")}
_COMMIT = Statement("COMMIT")
_ROLLBACK = Statement("ROLLBACK")
_SAVE = Statement("SAVEPOINT one")
_RELEASE = Statement("RELEASE SAVEPOINT one")
_UNDO = Statement("ROLLBACK TO SAVEPOINT one")


class Commit(NamedTuple):
    """What one caller wants in one transaction: `then` happens when `guard` is None or took effect."""

    guard: Change | None
    then: Sequence[Change]

    @property
    def size(self) -> int:
        """How many changes."""
        return len(self.then) + 1


def write(commits: Sequence[Commit], statements: Statements) -> Work[list[Result]]:
    """Do the commits in one transaction. For each: its guard's row, None, or the error it failed with.

    Raises Unavailable when the database is away: then none of them happened.
    """
    begin = _BEGIN[statements.dialect_name]
    yield begin
    try:
        results: list[Result] = list((yield from _together(commits, statements)))
    except Unavailable:
        raise
    except Exception:  # whatever was wrong with one of them: find out which
        yield _ROLLBACK
        yield begin
        results = yield from _one_by_one(commits, statements)
    yield _COMMIT
    return results


def _one_by_one(commits: Sequence[Commit], statements: Statements) -> Work[list[Result]]:
    results: list[Result] = []
    for commit in commits:
        yield _SAVE
        try:
            results += yield from _together([commit], statements)
        except Unavailable:
            raise
        except Exception as error:  # goes to its caller
            yield _UNDO
            results.append(error)
        yield _RELEASE
    return results


def _together(commits: Sequence[Commit], statements: Statements) -> Work[list[Row | None]]:
    guards = [commit.guard for commit in commits if commit.guard is not None]
    guarded = iter((yield from _apply(guards, statements, returning=True)))
    rows = [None if commit.guard is None else next(guarded) for commit in commits]
    then = [
        change
        for commit, row in zip(commits, rows, strict=True)
        if row is not None or commit.guard is None
        for change in commit.then
    ]
    yield from _apply(then, statements, returning=False)
    return rows


def _apply(changes: Sequence[Change], statements: Statements, *, returning: bool) -> Work[list[Row | None]]:
    """Do all the changes; with `returning`, give the row of each that took effect."""
    rows: list[Row | None] = [None] * len(changes)
    left: Sequence[int] = range(len(changes))
    while left:
        groups, left = _round(changes, left)
        for command, members in groups.items():
            for start in range(0, len(members), MAX_ROWS):
                some = members[start : start + MAX_ROWS]
                yield from _run(command, [(i, changes[i]) for i in some], statements, rows if returning else None)
    return rows


def _round(changes: Sequence[Change], left: Sequence[int]) -> tuple[dict[Command, list[int]], list[int]]:
    """The changes to do now, by command, and those that must wait because their row is being changed already."""
    groups: dict[Command, list[int]] = {}
    waiting: list[int] = []
    taken: set[tuple[str, Row]] = set()
    for i in left:
        command, row = changes[i]
        place = (command.table.name, row[: command.key])
        if place in taken:
            waiting.append(i)
        else:
            taken.add(place)
            groups.setdefault(command, []).append(i)
    return groups, waiting


def _run(
    command: Command,
    members: Sequence[tuple[int, Change]],
    statements: Statements,
    rows: list[Row | None] | None,
) -> Work[None]:
    # A plain INSERT works or fails: asking which rows went in would cost a step of the driver for each.
    sure = isinstance(command, Insert) and command.when_there == "raise"
    returning = rows is not None and not sure
    found = yield statements.make(command, [change.row for _, change in members], returning=returning)
    if rows is None:
        return
    by_key = {row[: command.key]: row for row in found}
    for i, change in members:
        rows[i] = change.key if sure else by_key.get(change.key)
