"""What is measured of sessions and of the calls to the providers."""

import pytest
from prometheus_client import CollectorRegistry

from tests.support.whatsapp import a_message
from tests.unit.whatsapp.test_session import Rig
from zapd.model.session import Desired, SessionState, TransportName
from zapd.whatsapp.metrics import Calls, SessionMetrics
from zapd.whatsapp.session import Session
from zapd.whatsapp.transport import PauseNewContacts, Permanent, RetryAt, UnknownOutcome

S = SessionState
SANDBOX, CLOUD = TransportName.SANDBOX, TransportName.CLOUD


def test_sessions_are_shown_as_they_were_counted_and_go_back_to_zero() -> None:
    registry = CollectorRegistry()
    metrics = SessionMetrics(registry=registry, transports=[SANDBOX, CLOUD])

    def sessions(transport: str, state: str) -> float | None:
        return registry.get_sample_value("zapd_sessions", {"transport": transport, "state": state})

    def down(transport: str) -> float | None:
        return registry.get_sample_value("zapd_sessions_down", {"transport": transport})

    metrics.sampled(
        [
            (CLOUD, S.CONNECTED, Desired.CONNECTED, 3),
            (CLOUD, S.BANNED, Desired.CONNECTED, 1),
            (CLOUD, S.QR_PENDING, Desired.CONNECTED, 1),
            (CLOUD, S.PAUSED, Desired.PAUSED, 2),
        ]
    )
    assert (sessions("cloud", "connected"), sessions("cloud", "banned"), sessions("cloud", "paused")) == (3, 1, 2)
    assert (down("cloud"), down("sandbox")) == (2, 0)

    metrics.sampled([])
    assert (sessions("cloud", "banned"), down("cloud")) == (0, 0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RetryAt("131026"), "retry"),
        (Permanent("131009"), "permanent"),
        (PauseNewContacts("463"), "pause_new_contacts"),
        (UnknownOutcome("timeout"), "unknown_outcome"),
        (ZeroDivisionError(), "bug"),
    ],
)
def test_a_failed_send_counts_under_what_it_means(error: Exception, kind: str) -> None:
    calls = Calls()
    calls.failed(error)
    assert {name for name, count in calls.errors.items() if count} == {kind}


async def test_a_session_measures_its_sends() -> None:
    calls, rig = Calls(), Rig()
    session = Session(
        connection=rig.session.connection,
        transport=rig.wire,
        on_state=rig.upside.on_session_state,
        on_raw=rig.upside.on_session_raw,
        on_up=rig.on_up,
        random=lambda: 0.5,
        calls=calls,
    )
    rig.session = session
    await session.start()
    await rig.reaches(S.CONNECTED)

    await session.send(a_message())
    rig.wire.trouble = RetryAt("busy")
    with pytest.raises(RetryAt):
        await session.send(a_message())

    assert calls.seconds.buckets()[0][-1] == ("+Inf", 2.0)
    assert calls.errors["retry"] == 1
    await session.stop()
