"""What an event is still waited for by: its row and its body stay until then."""

from collections.abc import Collection
from enum import StrEnum

import sqlalchemy as sa

from zapd.model.hub import OPEN, ActionState, Progress
from zapd.model.webhook import DeliveryState
from zapd.store.commands import Condition, among
from zapd.store.tables import actions, deliveries, event_states, events

UNDELIVERED = frozenset({DeliveryState.PENDING, DeliveryState.RETRYING})
_UNFINISHED: tuple[tuple[sa.Column[str], Collection[StrEnum]], ...] = (
    (deliveries.c.state, UNDELIVERED),
    (event_states.c.progress, (Progress.PENDING,)),
    (actions.c.state, OPEN),
)
_GIVEN_UP: tuple[tuple[sa.Column[str], Collection[StrEnum]], ...] = (
    (deliveries.c.state, (DeliveryState.DEAD,)),
    (event_states.c.progress, (Progress.FAILED,)),
    (actions.c.state, (ActionState.DEAD,)),
)


def over(event_tenant: sa.Column[str], event_id: sa.Column[str], *, for_good: bool) -> tuple[Condition, ...]:
    """Nothing will be done with an event by itself; `for_good`: nor is there what a person may try again."""
    waits = (*_UNFINISHED, *_GIVEN_UP) if for_good else _UNFINISHED
    return tuple(
        ~sa.exists().where(
            column.table.c.tenant == event_tenant,
            column.table.c.event_id == event_id,
            among(column, frozenset(states)),
        )
        for column, states in waits
    )


def event_over(*, for_good: bool) -> tuple[Condition, ...]:
    """The same for a row of the log."""
    return over(events.c.tenant, events.c.id, for_good=for_good)
