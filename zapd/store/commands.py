"""The shapes of SQL that the hot paths use. One shape carries the rows of many callers in one statement.

Why: sqlite3 gives up Python's lock at every statement and, beside a busy event loop, waits up to 5 ms to get it back.
A statement for each row made 4,000 rows/s; a statement for each batch makes ten times that.

Every shape reads its rows from `WITH v(…) AS (VALUES (…), …)`. Its text is compiled once for each power of two and
filled up with rows of NULL, which match nothing and are not inserted. All placeholders stand in that VALUES list, in
row order, so binding is one flat list of values.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any, Literal, NamedTuple, Protocol, cast

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnClause

MAX_ROWS = 128  #: rows in one statement; more rows go in several

Row = tuple[Any, ...]
Columns = Sequence[ColumnClause[Any]]
Condition = sa.ColumnElement[bool]


class Statement(NamedTuple):
    """SQL with positional placeholders, and one value for each."""

    sql: str
    values: Sequence[Any] = ()


class Shape(Protocol):
    """SQL over a set of rows `v`. Compared by identity: make each shape once."""

    @property
    def columns(self) -> Columns:
        """What each row of `v` holds."""

    def build(self, rows: sa.CTE, dialect: sa.Dialect, /, *, returning: bool) -> sa.ClauseElement:
        """The statement over these rows."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Insert:
    """New rows. `key` is how many leading columns name a row.

    A row that is there already makes the statement fail (`raise`: for ids that we made ourselves), is left alone
    (`skip`: the guard then has no row), or takes the new values (`replace`).
    """

    table: sa.Table
    columns: Columns
    key: int = 2
    when_there: Literal["raise", "skip", "replace"] = "raise"

    def build(self, rows: sa.CTE, dialect: sa.Dialect, /, *, returning: bool) -> sa.ClauseElement:
        """See `Shape`."""
        names = [c.name for c in self.columns]
        # The condition drops the filling; SQLite also needs one to tell ON CONFLICT from a join's ON.
        live = sa.select(*rows.c).where(next(iter(rows.c)).is_not(None))
        statement = _insert(self.table, dialect).from_select(names, live)
        if self.when_there == "skip":
            statement = statement.on_conflict_do_nothing()
        elif self.when_there == "replace":
            new = {name: statement.excluded[name] for name in names[self.key :]}
            statement = statement.on_conflict_do_update(index_elements=names[: self.key], set_=new)
        keys = [self.table.c[name] for name in names[: self.key]]
        return statement.returning(*keys) if returning else statement


def _insert(table: sa.Table, dialect: sa.Dialect) -> sqlite.Insert:
    if dialect.name != "postgresql":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # 3 MiB that a daemon on SQLite does not need

    return cast(sqlite.Insert, postgresql.insert(table))  # the same words, in another class


@dataclass(frozen=True, eq=False, kw_only=True)
class Update:
    """Changes to the rows whose first `key` columns match, where the condition holds: compare-and-set.

    `sets` and `where` get `v`. A guard's row is `returning`, which must begin with the key; by default the key alone.
    """

    table: sa.Table
    columns: Columns
    sets: Callable[[sa.CTE], Mapping[str, Any]]
    where: Callable[[sa.CTE], Sequence[Condition]] = lambda _: ()
    returning: Sequence[sa.Column[Any]] = ()
    key: int = 2

    def build(self, rows: sa.CTE, _dialect: sa.Dialect, /, *, returning: bool) -> sa.ClauseElement:
        """See `Shape`."""
        matched = matching(self.table, rows, self.columns[: self.key])
        statement = sa.update(self.table).where(*matched, *self.where(rows)).values(self.sets(rows))
        keys = [self.table.c[c.name] for c in self.columns[: self.key]]
        return statement.returning(*(self.returning or keys)) if returning else statement


@dataclass(frozen=True, eq=False, kw_only=True)
class Delete:
    """Rows that go, when their first `key` columns match and the condition over `v` holds."""

    table: sa.Table
    columns: Columns
    where: Callable[[sa.CTE], Sequence[Condition]] = lambda _: ()
    key: int = 2

    def build(self, rows: sa.CTE, _dialect: sa.Dialect, /, *, returning: bool) -> sa.ClauseElement:
        """See `Shape`."""
        names = [c.name for c in self.columns[: self.key]]
        keys = [self.table.c[name] for name in names]
        found = sa.select(*[rows.c[name] for name in names])
        if conditions := self.where(rows):
            # SQLite's DELETE has no FROM, so they stand inside the subquery that finds the rows.
            matched = sa.and_(*matching(self.table, rows, self.columns[: self.key]), *conditions)
            found = sa.select(*keys).select_from(rows.join(self.table, matched))
        statement = sa.delete(self.table).where(sa.tuple_(*keys).in_(found))
        return statement.returning(*keys) if returning else statement


@dataclass(frozen=True, eq=False, kw_only=True)
class Lookup:
    """A SELECT of `read` for many callers' keys: `source` joins `v` with what is read."""

    columns: Columns
    read: Sequence[sa.Column[Any]]
    source: Callable[[sa.CTE], sa.FromClause]

    def build(self, rows: sa.CTE, _dialect: sa.Dialect, /, *, returning: bool) -> sa.ClauseElement:  # noqa: ARG002
        """See `Shape`. The key that was asked for stands in front of each row."""
        return sa.select(*rows.c, *self.read).select_from(self.source(rows))


Command = Insert | Update | Delete


class Change(NamedTuple):
    """One caller's row for a command. Making one does nothing; `Writer.commit` does it."""

    command: Command
    row: Row

    @property
    def key(self) -> Row:
        """The values that name the row in its table."""
        return self.row[: self.command.key]


def matching(table: sa.Table, rows: sa.CTE, columns: Columns) -> list[Condition]:
    """`table.c = v.c` for each of the columns."""
    return [table.c[c.name] == rows.c[c.name] for c in columns]


def by_key(table: sa.Table, columns: Columns) -> Lookup:
    """The look-up of a table's whole rows by these columns."""
    return Lookup(
        columns=columns,
        read=tuple(table.c),
        source=lambda v: v.join(table, sa.and_(*matching(table, v, columns))),
    )


def among(column: ColumnClause[Any], words: Sequence[StrEnum] | frozenset[StrEnum]) -> Condition:
    """`column IN ('a', 'b')` with the words of an enum written out: a placeholder would stand outside VALUES."""
    if not words:
        raise ValueError(f"no state to move from for {column}")
    return column.in_([sa.literal_column(f"'{word.value}'", sa.Text()) for word in sorted(words)])


def word(value: StrEnum) -> ColumnClause[str]:
    """An enum's word written out in the SQL."""
    return sa.literal_column(f"'{value.value}'", sa.Text())


_VALUES = re.compile(r"(?<=VALUES )(\([^()]*\))")  # the one row of placeholders
_NUMBER = re.compile(r"\$([0-9]+)")  # PostgreSQL's are numbered


class Statements:
    """Makes statements of shapes and rows, and keeps the compiled texts."""

    def __init__(self, *, dialect: sa.Dialect) -> None:
        self.dialect_name = dialect.name
        self._dialect = dialect
        self._texts: dict[tuple[Shape, int, bool], str] = {}

    def make(self, shape: Shape, rows: Sequence[Row], *, returning: bool = False) -> Statement:
        """The statement for at most MAX_ROWS rows."""
        size = 1 << (len(rows) - 1).bit_length()
        text = self._texts.get((shape, size, returning)) or self._compile(shape, size, returning)
        filling = (None,) * (len(shape.columns) * (size - len(rows)))
        return Statement(text, (*chain.from_iterable(rows), *filling))

    def _compile(self, shape: Shape, size: int, returning: bool) -> str:
        """SQLAlchemy writes the text for one row; its VALUES row is repeated here, which is fifty times cheaper.

        A burst after a start meets some twenty shapes in eight sizes: that was more than half a second of its time.
        """
        width = len(shape.columns)
        one = self._texts.get((shape, 1, returning)) or self._compile_one(shape, returning)
        head, row, tail = _VALUES.split(one)
        rows = [_NUMBER.sub(lambda found, k=k: f"${int(found[1]) + k * width}", row) for k in range(size)]
        text = self._texts[shape, size, returning] = f"{head}{', '.join(rows)}{tail}"
        return text

    def _compile_one(self, shape: Shape, returning: bool) -> str:
        row = shape.columns
        names = [sa.column(c.name, c.type) for c in row]
        holes = tuple(sa.bindparam(None, type_=c.type, unique=True) for c in row)
        rows = sa.values(*names, name="v").data([holes]).cte("v")
        compiled = shape.build(rows, self._dialect, returning=returning).compile(dialect=self._dialect)
        if not isinstance(compiled, SQLCompiler) or len(compiled.positiontup or ()) != len(row):
            raise ValueError(f"a placeholder outside VALUES: {compiled}")
        text = self._texts[shape, 1, returning] = str(compiled)
        return text
