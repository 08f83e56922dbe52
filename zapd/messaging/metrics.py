"""What is counted of messages. By transport and kind only; ids never stand in a label."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from zapd.model.message import Message, MessageStatus
from zapd.telemetry.numbers import Histogram, counter, histogram, zeros

SEND_SECONDS = (0.1, 0.5, 1.0, 5.0, 60.0, 300.0, 1800.0)
OTHER = "other"  #: of types: one that no transport of ours names
ONLY_OUT = frozenset({"template", "forward"})  #: types that no contact can send
UNREAD = "unknown"  #: of types: one that came in and that zapd cannot read
UNKNOWN = "unknown"  #: of transports: a message of a connection that was deleted or not looked at yet


class MessageMetrics(Collector):
    """`transport_of(tenant, connection_id)` names a transport, or None, without reading anything."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        transports: Sequence[str],
        types: Sequence[str],
        transport_of: Callable[[str, str], str | None],
    ) -> None:
        self._transport_of = transport_of
        named = [*transports, UNKNOWN]
        # Of messages whose connection is gone the type tells nobody anything: one series instead of one for each.
        self._submitted = zeros([*product(transports, (*types, OTHER)), (UNKNOWN, OTHER)])
        come_in = [*(kind for kind in types if kind not in ONLY_OUT), UNREAD, OTHER]
        self._received = zeros([*product(transports, come_in), (UNKNOWN, OTHER)])
        self._transitions = zeros(product(named, MessageStatus))
        self._send_seconds = {transport: Histogram(SEND_SECONDS) for transport in named}
        self._held = Gauge("zapd_messages_held", "Messages of which nobody knows whether they left.", registry=registry)
        self._parked = Gauge("zapd_receipts_parked", "Receipts that wait for their message.", registry=registry)
        registry.register(self)

    def sampled(self, *, held: int, parked: int) -> None:
        """What was counted in SQL."""
        self._held.set(held)
        self._parked.set(parked)

    def submitted(self, message: Message) -> None:
        """A message was accepted."""
        self._count(self._submitted, message, MessageStatus.QUEUED)

    def received(self, message: Message) -> None:
        """A message came in."""
        self._count(self._received, message, MessageStatus.RECEIVED)

    def moved(self, message: Message, to: MessageStatus) -> None:
        """A message is in another state, and that is committed."""
        self._transitions[self._transport(message), to] += 1

    def sent(self, message: Message, at: int) -> None:
        """The provider took it at `at` (ms). Times count from when it was accepted or should leave."""
        transport = self._transport(message)
        self._transitions[transport, MessageStatus.SENT] += 1
        seconds = (at - max(message.created_at, message.send_at or 0)) / 1000
        self._send_seconds[transport].observe(max(0.0, seconds))

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        kinds = ("transport", "type")
        yield counter("zapd_messages_submitted", "Messages accepted.", kinds, self._submitted)
        yield counter("zapd_messages_received", "Messages that came in.", kinds, self._received)
        yield counter(
            "zapd_message_transitions", "Messages that came into a state.", ("transport", "state"), self._transitions
        )
        yield histogram("zapd_message_send_seconds", "From accepted to sent.", "transport", self._send_seconds)

    def _transport(self, message: Message) -> str:
        return self._transport_of(message.tenant, message.connection_id) or UNKNOWN

    def _count(self, counts: dict[tuple[str, ...], int], message: Message, status: MessageStatus) -> None:
        transport = self._transport(message)
        key = (transport, message.type)
        counts[key if key in counts else (transport, OTHER)] += 1
        self._transitions[transport, status] += 1
