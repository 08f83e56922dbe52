"""What is measured of sessions and of the calls to the providers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from zapd.model.session import Desired, SessionState, TransportName
from zapd.telemetry.numbers import Histogram, counter, gauge, histogram, zeros
from zapd.whatsapp.transport import (
    NotConnected,
    PauseNewContacts,
    PauseSession,
    Permanent,
    RetryAt,
    UnknownOutcome,
)

CALL_SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)

#: How a send can fail → label. Anything else is a bug of ours.
CLASSES: dict[type[BaseException], str] = {
    RetryAt: "retry",
    Permanent: "permanent",
    PauseSession: "pause_session",
    PauseNewContacts: "pause_new_contacts",
    UnknownOutcome: "unknown_outcome",
    NotConnected: "not_connected",
}
BUG = "bug"


@dataclass(slots=True)
class Calls:
    """The sends and connections of one transport."""

    seconds: Histogram = field(default_factory=lambda: Histogram(CALL_SECONDS))
    errors: dict[str, int] = field(default_factory=lambda: dict.fromkeys([*CLASSES.values(), BUG], 0))

    reconnects: int = 0  #: connections that were lost and are tried again

    def failed(self, error: BaseException) -> None:
        """A send raised."""
        kind = next((name for cls, name in CLASSES.items() if isinstance(error, cls)), BUG)
        self.errors[kind] += 1


class SessionMetrics(Collector):
    """The sessions of all transports; `calls` by the transport's name."""

    def __init__(self, *, registry: CollectorRegistry, transports: Sequence[str]) -> None:
        self.calls = {name: Calls() for name in transports}
        self.quiet: Callable[[], float] = lambda: 0.0  #: the longest silence of a connected session, in seconds
        self._transitions = zeros(product(transports, SessionState))
        self._sessions = zeros(product(transports, SessionState))
        self._down = zeros((name,) for name in transports)
        registry.register(self)

    def moved(self, transport: TransportName, to: SessionState) -> None:
        """A session is in another state, and that is committed."""
        self._transitions[transport, to] += 1

    def sampled(self, counts: Sequence[tuple[TransportName, SessionState, Desired, int]]) -> None:
        """What was counted in SQL, so that a session which no daemon holds is seen too."""
        sessions, down = dict.fromkeys(self._sessions, 0), dict.fromkeys(self._down, 0)
        for transport, state, desired, count in counts:
            sessions[transport, state] = sessions.get((transport, state), 0) + count
            if desired is Desired.CONNECTED and state is not SessionState.CONNECTED:
                down[transport,] = down.get((transport,), 0) + count
        self._sessions, self._down = sessions, down

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        yield gauge("zapd_sessions", "Sessions, by their stored state.", ("transport", "state"), self._sessions)
        yield gauge("zapd_sessions_down", "Sessions that should be connected and are not.", ("transport",), self._down)
        yield counter(
            "zapd_session_transitions",
            "Sessions that came into a state.",
            ("transport", "state"),
            self._transitions,
        )
        lost: dict[tuple[str, ...], int] = {(name,): calls.reconnects for name, calls in self.calls.items()}
        yield counter("zapd_session_reconnects", "Connections that were lost.", ("transport",), lost)
        text = "For how long the quietest connected session has given no sign of life."
        yield gauge("zapd_session_quiet_seconds", text, (), {(): self.quiet()})
        seconds = {name: calls.seconds for name, calls in self.calls.items()}
        yield histogram("zapd_transport_call_duration_seconds", "One send, to its answer.", "transport", seconds)
        errors: dict[tuple[str, ...], int] = {
            (name, kind): n for name, calls in self.calls.items() for kind, n in calls.errors.items()
        }
        yield counter("zapd_transport_errors", "Sends that failed.", ("transport", "class"), errors)
