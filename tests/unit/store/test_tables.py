"""The rule that every key and every unique index carries the tenant."""

import pytest
import sqlalchemy as sa

from zapd.store.tables import metadata

#: A tenant's own row is named by the tenant's id; an event's `seq` is its place in the one log, its key is events_id.
EXEMPT = {("tenants", ("id",)), ("events", ("seq",))}


def keys(table: sa.Table) -> list[tuple[str, ...]]:
    unique = [index for index in table.indexes if index.unique]
    constraints = [c for c in table.constraints if isinstance(c, sa.UniqueConstraint | sa.PrimaryKeyConstraint)]
    return [tuple(column.name for column in key.columns) for key in (*unique, *constraints)]


@pytest.mark.parametrize("table", metadata.tables.values(), ids=str)
def test_every_key_carries_the_tenant(table: sa.Table) -> None:
    assert [key for key in keys(table) if "tenant" not in key and (table.name, key) not in EXEMPT] == []


def test_every_table_but_the_tenants_has_a_tenant_column() -> None:
    assert [name for name, table in metadata.tables.items() if "tenant" not in table.c] == ["tenants"]
