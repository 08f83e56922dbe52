"""Z-API's words for trouble → what a sender does about them. A table; source: wire facts §2.1, §2.4.

Z-API has no error codes but one: it says what happened in English, in the answer to a call or in a later callback. The
first line of the table whose words are in the text decides. `code` is our short name; receivers and people see it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zapd.whatsapp.transport import NotConnected, PauseNewContacts, PauseSession, Permanent, RetryAt, SendError

TOO_MANY_WAIT = 60.0  #: seconds, when Z-API says 429 and not how long
MAX_RETRY_AFTER = 3600.0  #: seconds; a longer hint is not believed

Make = Callable[[str, str], SendError]  # code, what Z-API said


def _temporary(code: str, said: str) -> SendError:
    return RetryAt(code, said)


def _permanent(code: str, said: str) -> SendError:
    return Permanent(code, said)


def _pause(code: str, said: str) -> SendError:
    return PauseSession(code, said)


def _new_contacts(code: str, said: str) -> SendError:
    return PauseNewContacts(code, said)


def _away(code: str, said: str) -> SendError:  # noqa: ARG001 - it has one code
    return NotConnected(said)


@dataclass(frozen=True, slots=True)
class Line:
    """`words` are looked for in lower case."""

    words: str
    code: str
    make: Make


TABLE: tuple[Line, ...] = (
    Line("shadow ban", "shadow_ban", _new_contacts),
    Line("rejected sending this message", "rejected", _new_contacts),
    Line("did not have permission", "no_permission", _new_contacts),
    Line("phone number does not exist", "no_such_number", _permanent),
    Line("invalid phone number", "invalid_number", _permanent),
    Line("invalid media url", "media_refused", _permanent),
    Line("404 error while trying to send", "media_not_found", _permanent),
    Line("it can be an html", "media_is_html", _permanent),
    Line("timeout on send message", "send_timeout", _temporary),
    Line("error on send message", "send_error", _temporary),
    Line("null not allowed", "auth_failed", _pause),  # the Client-Token is missing
    Line("client-token", "auth_failed", _pause),
    Line("unauthorized", "auth_failed", _pause),
    Line("instance not found", "instance_not_found", _pause),
    Line("subscri", "payment", _pause),
    Line("not connected", "disconnected", _away),
    Line("disconnected", "disconnected", _away),
    Line("restore the session", "disconnected", _away),
)

#: For answers whose words say nothing known.
HTTP: Mapping[int, tuple[str, Make]] = {
    401: ("auth_failed", _pause),
    403: ("auth_failed", _pause),
    404: ("instance_not_found", _pause),
    408: ("timeout", _temporary),
}


def error_of(said: str, *, code: str | None = None, status: int = 200, retry_after: str | None = None) -> SendError:
    """What to raise for an answer that is an error. `code` is Z-API's `errorCode`."""
    if status == 429:
        return RetryAt("429", said, wait=_seconds(retry_after) or TOO_MANY_WAIT, whole_session=True)
    line = _line(said, code)
    if line is not None:
        return line.make(line.code, said)
    if status in HTTP:
        name, make = HTTP[status]
        return make(name, said)
    return RetryAt(str(status), said) if status >= 500 else Permanent("refused", said)


def code_of(said: str, *, code: str | None = None) -> str:
    """The short name of what a callback says of a message that failed."""
    line = _line(said, code)
    return line.code if line is not None else "refused"


def told(code: str, said: str) -> SendError | None:
    """What a callback says of a message that failed, as the error of the send; `code` is our short name."""
    line = next((line for line in TABLE if line.code == code), None)
    return line.make(code, said) if line is not None else None


def _line(said: str, code: str | None) -> Line | None:
    text = f"{said} {(code or '').replace('_', ' ')}".lower()
    return next((line for line in TABLE if line.words in text), None)


def _seconds(retry_after: str | None) -> float | None:
    known = retry_after is not None and re.fullmatch(r"[0-9]{1,6}", retry_after)
    return min(float(retry_after), MAX_RETRY_AFTER) if retry_after and known else None
