"""The shapes of SQL: filled to powers of two, and never with a placeholder outside VALUES."""

import pkgutil
from importlib import import_module
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from tests.support.store import NOW, TENANT
from zapd import store
from zapd.model.message import MessageStatus as S
from zapd.model.session import SessionState
from zapd.model.webhook import DeliveryState as D
from zapd.store.commands import Change, Delete, Insert, Lookup, Shape, Statements, Update, among
from zapd.store.connections import ConnectionStore
from zapd.store.deliveries import DeliveryStore
from zapd.store.messages import MessageStore
from zapd.store.outbox import OutboxStore
from zapd.store.purge import Purge

DIALECTS = {
    "sqlite": sqlite.dialect(paramstyle="qmark"),
    "postgresql": sa.dialects.registry.load("postgresql.asyncpg")(),
}


@pytest.fixture(params=DIALECTS)
def statements(request: pytest.FixtureRequest) -> Statements:
    return Statements(dialect=DIALECTS[request.param])


def shapes() -> dict[str, Shape]:
    found: dict[str, Shape] = {
        f"{module.name}.{name}": value
        for module in pkgutil.iter_modules(store.__path__)
        if module.name != "migrations"
        for name, value in vars(import_module(f"zapd.store.{module.name}")).items()
        if isinstance(value, Insert | Update | Delete | Lookup)
    }
    found["purge"] = Purge.DELETES["events"]
    moves = {
        "messages.moved": MessageStore.moved(TENANT, "msg_1", to=S.SENT, frm=frozenset({S.SENDING}), at=NOW, error="x"),
        "connections.moved": ConnectionStore.moved(TENANT, "c", to=SessionState.CONNECTED, reason=None, at=NOW),
        "deliveries.moved": DeliveryStore.moved(TENANT, "d", to=D.DEAD, frm=frozenset({D.PENDING}), at=NOW, attempts=1),
    }
    return found | {name: change.command for name, change in moves.items()}


@pytest.mark.parametrize("shape", shapes().values(), ids=shapes())
def test_every_shape_of_the_stores_compiles(statements: Statements, shape: Shape) -> None:
    row = (None,) * len(shape.columns)

    assert len(statements.make(shape, [row] * 3, returning=True).values) == 4 * len(row)


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (2, 2), (3, 4), (5, 8), (128, 128)])
def test_rows_are_filled_up_to_a_power_of_two(statements: Statements, rows: int, size: int) -> None:
    removed = OutboxStore.removed(TENANT, "job_1")

    statement = statements.make(removed.command, [removed.row] * rows)

    assert statement.values == (*removed.row * rows, *(None, None) * (size - rows))


def test_a_text_is_compiled_once(statements: Statements) -> None:
    removed = OutboxStore.removed(TENANT, "job_1")

    first, second = (statements.make(removed.command, [removed.row] * n).sql for n in (3, 4))

    assert first is second


def test_a_placeholder_outside_values_is_refused(statements: Statements) -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("tenant", sa.Text), sa.Column("n", sa.Integer))
    wrong = Update(table=table, columns=(table.c.tenant,), sets=lambda _: {"n": 5}, key=1)

    with pytest.raises(ValueError, match="outside VALUES"):
        statements.make(wrong, [("a",)])


def test_moves_with_the_same_states_and_fields_share_a_shape() -> None:
    def moved(**fields: Any) -> Change:
        return MessageStore.moved(TENANT, "m", to=S.SENT, frm=frozenset({S.SENDING}), at=NOW, **fields)

    assert moved(provider_id="a").command is moved(provider_id="b").command
    assert moved(provider_id="a").command is not moved().command


def test_a_move_from_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="no state"):
        among(sa.column("status"), frozenset[S]())
