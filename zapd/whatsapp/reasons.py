"""Why a connection ended → what to do: stop and say so, come back later, or come back at once.

The numbers are WhatsApp's own (wire facts §3.5). A transport tells the number; the words and the state come from here,
so that every transport breaks its circuit in the same way. A reason that is not in the table keeps what was told.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from zapd.model.session import SessionState
from zapd.whatsapp.transport import StateChange

S = SessionState


@dataclass(frozen=True, slots=True)
class Reason:
    """`at_once`: the provider asked to connect again now."""

    word: str
    state: SessionState
    at_once: bool = False


REASONS: Mapping[str, Reason] = {
    "401": Reason("logged_out", S.LOGGED_OUT),
    "402": Reason("temporary_ban", S.BANNED),
    "403": Reason("forbidden", S.PAUSED),
    "405": Reason("client_outdated", S.CLIENT_OUTDATED),
    "406": Reason("banned", S.BANNED),
    "408": Reason("timed_out", S.RECONNECTING),
    "411": Reason("multidevice_mismatch", S.FAILED),
    "428": Reason("connection_lost", S.RECONNECTING),
    "440": Reason("replaced", S.PAUSED),  # another process has the session: fighting for it ends in a ban
    "503": Reason("unavailable", S.RECONNECTING),
    "515": Reason("restart_required", S.RECONNECTING, at_once=True),
}


def judged(end: StateChange) -> StateChange:
    """The end of a connection as the table sees it: `440` becomes paused with the reason `440_replaced`."""
    reason = REASONS.get(end.reason or "")
    if reason is None:
        return end
    state = reason.state if end.state is S.RECONNECTING else end.state
    return StateChange(state=state, reason=f"{end.reason}_{reason.word}")


def comes_back_at_once(end: StateChange) -> bool:
    """Whether the provider wants the next connection now (of what `judged` gave)."""
    reason = REASONS.get((end.reason or "").partition("_")[0])
    return reason is not None and reason.at_once
