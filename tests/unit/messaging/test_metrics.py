"""What is counted of messages, under which labels."""

import pytest
from prometheus_client import CollectorRegistry

from tests.support.store import NOW, message
from zapd.messaging.metrics import MessageMetrics
from zapd.model.message import MessageStatus

TRANSPORTS = {"con_1": "sandbox"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> MessageMetrics:
    return MessageMetrics(
        registry=registry,
        transports=["sandbox", "cloud"],
        types=["text"],
        transport_of=lambda _tenant, connection_id: TRANSPORTS.get(connection_id),
    )


def series(registry: CollectorRegistry) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    return {(s.name, tuple(sorted(s.labels.items()))) for family in registry.collect() for s in family.samples}


def test_every_series_is_there_before_the_first_message(registry: CollectorRegistry, metrics: MessageMetrics) -> None:
    value = registry.get_sample_value
    assert value("zapd_messages_submitted_total", {"transport": "cloud", "type": "text"}) == 0
    assert value("zapd_message_transitions_total", {"transport": "cloud", "state": "held"}) == 0
    assert value("zapd_message_send_seconds_count", {"transport": "sandbox"}) == 0


def test_a_submit_counts_as_queued_too(registry: CollectorRegistry, metrics: MessageMetrics) -> None:
    metrics.submitted(message())

    value = registry.get_sample_value
    assert value("zapd_messages_submitted_total", {"transport": "sandbox", "type": "text"}) == 1
    assert value("zapd_message_transitions_total", {"transport": "sandbox", "state": "queued"}) == 1


def test_a_type_and_a_connection_that_nobody_knows_make_no_series(
    registry: CollectorRegistry, metrics: MessageMetrics
) -> None:
    before = series(registry)

    metrics.received(message(connection_id="con_gone", type="whatever a provider sends"))

    assert series(registry) == before
    assert registry.get_sample_value("zapd_messages_received_total", {"transport": "unknown", "type": "other"}) == 1


@pytest.mark.parametrize(("send_at", "seconds"), [(None, 4.0), (NOW + 3_000, 1.0), (NOW + 9_000, 0.0)])
def test_the_time_to_sent_counts_from_when_it_should_leave(
    send_at: int | None, seconds: float, registry: CollectorRegistry, metrics: MessageMetrics
) -> None:
    metrics.sent(message(send_at=send_at), NOW + 4_000)

    assert registry.get_sample_value("zapd_message_send_seconds_sum", {"transport": "sandbox"}) == seconds
    sent = {"transport": "sandbox", "state": MessageStatus.SENT}
    assert registry.get_sample_value("zapd_message_transitions_total", sent) == 1
