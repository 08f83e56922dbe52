"""The library's words → what they mean. It has no codes of its own, but its words stand in the pinned build.

A send's error says where it happened. Before the message was written to the line, nothing left; after it, nobody knows.
"""

import re
from collections.abc import Mapping

from zapd.model.session import SessionState
from zapd.whatsapp.transport import (
    NotConnected,
    PauseNewContacts,
    PauseSession,
    Permanent,
    RetryAt,
    SendError,
    StateChange,
    UnknownOutcome,
)

REACHOUT = 86_400.0  #: seconds for which new contacts are left alone after a 463; WhatsApp does not say how long
SLOW_DOWN = 60.0  #: seconds after a 429

_REFUSED = re.compile(r"server returned error (\d+)")
_NOT_UP = re.compile(r"websocket (is )?not connected|client is nil|not logged in|contain a device JID|no such account")
#: What happens before a message is on the line. Everything else may have happened after.
_BEFORE = re.compile(
    r"failed to (get|fetch|marshal|encrypt|send usync|send prekey|query|parse|build|prepare|create|generate|save|store)"
    r"|before info query|info query|no signal session|UploadError|ParseError|ValueError",
    re.IGNORECASE,
)
_NOBODY = re.compile(r"no LID found|not on WhatsApp|not-authorized|item-not-found|not participating", re.IGNORECASE)
_CORRUPT = re.compile(r"not a database|malformed|DatabaseError|failed to upgrade database|corrupt", re.IGNORECASE)


def of_send(words: str, *, provider_id: str | None) -> SendError:
    """Why a send failed. `provider_id` is the id under which it may have left; None: it was not given one yet."""
    certain = provider_id is None or any(known.search(words) for known in (_REFUSED, _NOT_UP, _NOBODY, _BEFORE))
    return of_call(words) if certain else UnknownOutcome("no_answer", provider_id=provider_id)


def of_call(words: str) -> SendError:
    """Why something failed that is no message, or of which nothing was written."""
    refused = _REFUSED.search(words)
    if refused:
        return _of_code(int(refused[1]))
    if _NOT_UP.search(words):
        return NotConnected("the line is down")
    if _NOBODY.search(words):
        return Permanent("not_on_whatsapp")
    return RetryAt("web_error", short(words))


def is_corrupt(words: str) -> bool:
    """Whether an account's database cannot be used."""
    return _CORRUPT.search(words) is not None


def _of_code(code: int) -> SendError:
    match code:
        case 463:
            return PauseNewContacts("463", "WhatsApp lets this account write to nobody new for a while", wait=REACHOUT)
        case 429:
            return RetryAt("429", "too many messages", wait=SLOW_DOWN, whole_session=True)
        case 401 | 403:
            return PauseSession(str(code), "WhatsApp refused the account's message")
        case _ if 400 <= code < 500 and code not in (408, 421, 425):
            return Permanent(str(code), "WhatsApp refused the message")
    return RetryAt(str(code), "WhatsApp could not take the message")


#: The library's events that end a connection → the state, and WhatsApp's number for it.
_ENDS: Mapping[str, tuple[SessionState, str]] = {
    "logged_out": (SessionState.LOGGED_OUT, "401"),
    "replaced": (SessionState.PAUSED, "440"),
    "outdated": (SessionState.CLIENT_OUTDATED, "405"),
    "banned": (SessionState.BANNED, "402"),
    "refused": (SessionState.RECONNECTING, "500"),
    "gone": (SessionState.RECONNECTING, "worker_died"),
}
_BANNED = 406


def of_end(event: Mapping[str, object]) -> StateChange | None:
    """What an event says of the connection's end; None: it does not end it."""
    kind, code = str(event["ev"]), event.get("code")
    if kind not in _ENDS:
        return None
    state, number = _ENDS[kind]
    if kind in ("logged_out", "refused") and code:
        number, state = str(code), SessionState.BANNED if code == _BANNED else state
    return StateChange(state=state, reason=number)


def short(words: str) -> str:
    """The error's words without what may be a person's number."""
    return re.sub(r"\d{5,}", "…", words)[:300]
