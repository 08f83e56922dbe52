"""The group commit's statements in their order, driven by hand: no database."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

from tests.support.store import NOW, TENANT, message, outbox_row
from zapd.errors import Conflict, Unavailable
from zapd.store.batch import Commit, Result, write
from zapd.store.commands import MAX_ROWS, Row, Statement, Statements
from zapd.store.messages import MessageStore
from zapd.store.outbox import OutboxStore

Answer = Callable[[Statement], list[Row]]


def drive(commits: list[Commit], answer: Answer) -> tuple[list[str], list[Result] | Exception]:
    """Run the work against `answer`, which may raise. What was said, each by its first word and table."""
    said: list[str] = []
    work = write(commits, Statements(dialect=sqlite.dialect(paramstyle="qmark")))
    try:
        statement = next(work)
        while True:
            said.append(short(statement.sql))
            try:
                rows = answer(statement)
            except Exception as error:
                statement = work.throw(error)
            else:
                statement = work.send(rows)
    except StopIteration as end:
        return said, end.value
    except Exception as error:
        return said, error


def short(sql: str) -> str:
    for verb in ("INSERT INTO ", "UPDATE ", "DELETE FROM "):
        if verb in sql:
            return f"{verb.split()[0]} {sql.split(verb)[1].split(maxsplit=1)[0]}"
    return sql


def accept(n: int, **changes: Any) -> Commit:
    return Commit(MessageStore.added(message(f"msg_{n}", **changes)), [OutboxStore.added(outbox_row(f"job_{n}"))])


def test_callers_share_a_statement_per_command() -> None:
    said, results = drive([accept(n) for n in range(5)], lambda _: [])

    assert said == ["BEGIN IMMEDIATE", "INSERT messages", "INSERT outbox", "COMMIT"]
    assert results == [(TENANT, f"msg_{n}") for n in range(5)]


def test_many_callers_take_several_statements() -> None:
    said, _ = drive([accept(n) for n in range(MAX_ROWS + 1)], lambda _: [])

    assert said[1:-1] == ["INSERT messages"] * 2 + ["INSERT outbox"] * 2


def test_what_follows_a_guard_without_a_row_is_left_out() -> None:
    guard = MessageStore.claimed(TENANT, "msg_1", NOW)

    said, results = drive([Commit(guard, [OutboxStore.added(outbox_row())])], lambda _: [])

    assert said == ["BEGIN IMMEDIATE", "UPDATE messages", "COMMIT"]
    assert results == [None]


def test_two_changes_of_one_row_take_two_statements() -> None:
    claims = [Commit(MessageStore.claimed(TENANT, "msg_1", NOW), []) for _ in range(2)]

    said, _ = drive(claims, lambda _: [])

    assert said == ["BEGIN IMMEDIATE", "UPDATE messages", "UPDATE messages", "COMMIT"]


def test_after_a_failure_each_commit_is_tried_alone() -> None:
    def refuse(statement: Statement) -> list[Row]:
        if "msg_1" in statement.values:
            raise Conflict
        return []

    said, results = drive([accept(0), accept(1)], refuse)

    assert said == [
        *("BEGIN IMMEDIATE", "INSERT messages", "ROLLBACK", "BEGIN IMMEDIATE"),
        *("SAVEPOINT one", "INSERT messages", "INSERT outbox", "RELEASE SAVEPOINT one"),
        *("SAVEPOINT one", "INSERT messages", "ROLLBACK TO SAVEPOINT one", "RELEASE SAVEPOINT one"),
        "COMMIT",
    ]
    assert isinstance(results, list)
    assert [type(result) for result in results] == [tuple, Conflict]


@pytest.mark.parametrize("at", ["BEGIN IMMEDIATE", "INSERT outbox", "COMMIT"])
def test_a_database_that_goes_away_ends_the_work_at_once(at: str) -> None:
    def away(statement: Statement) -> list[Row]:
        if short(statement.sql) == at:
            raise Unavailable
        return []

    said, outcome = drive([accept(0)], away)

    assert said[-1] == at
    assert isinstance(outcome, Unavailable)
