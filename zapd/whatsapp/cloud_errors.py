"""Meta's error codes → what a sender does about them. A table; source: wire facts §1.5."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from zapd.whatsapp.transport import PauseNewContacts, PauseSession, Permanent, RetryAt, SendError, TemplateRefused

MAX_RETRY_AFTER = 3600.0  #: seconds; a longer hint is not believed
#: Seconds of Meta's first pause of a template; the second one takes twice that, and the third time it is disabled
#: (developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-pausing).
TEMPLATE_PAUSE = 3 * 3600.0
THROUGHPUT, PAIR_RATE = 130429, 131056  #: their waits grow with each hit, see `cloud_pace.py`


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """An answer that is an error. `code` is Meta's, or the HTTP status when the body has none."""

    code: int
    detail: str
    http_status: int
    transient: bool
    retry_after: float | None  #: seconds


Make = Callable[[Problem], SendError]


def _temporary(problem: Problem) -> SendError:
    return RetryAt(str(problem.code), problem.detail)


def _permanent(problem: Problem) -> SendError:
    return Permanent(str(problem.code), problem.detail)


def _new_contacts(problem: Problem) -> SendError:
    return PauseNewContacts(str(problem.code), problem.detail)


def _template(state: str, pause: float | None = None) -> Make:
    return lambda problem: TemplateRefused(str(problem.code), problem.detail, template_state=state, pause=pause)


def _pace(wait: float, *, whole_session: bool = True) -> Make:
    def make(problem: Problem) -> SendError:
        seconds = max(wait, problem.retry_after or 0.0)
        return RetryAt(str(problem.code), problem.detail, wait=seconds, whole_session=whole_session)

    return make


def _pause(reason: str) -> Make:
    return lambda problem: PauseSession(reason, f"{problem.code}: {problem.detail}")


def _each(make: Make, *codes: int) -> dict[int, Make]:
    return dict.fromkeys(codes, make)


ACTIONS: Mapping[int, Make] = {
    **_each(_pause("auth_failed"), 0, 190),
    **_each(_pause("permission_denied"), 3, 10, *range(200, 300), 131005),
    **_each(_pause("payment"), 131042, 131044),
    **_each(_pause("not_registered"), 131045, 133010),
    **_each(_pause("restricted"), 368, 131031, 130497),
    **_each(_pace(120.0), 4, 80007),  # requests of the app or the business; their window is an hour
    **_each(_pace(60.0), 131057),  # maintenance
    **_each(_pace(1.0), THROUGHPUT),
    **_each(_pace(1.0, whole_session=False), PAIR_RATE),
    **_each(_new_contacts, 131048, 131064),
    **_each(_temporary, 1, 2, 131000, 131016, 133004, 131052),
    **_each(_permanent, 33, 100, 130403, 130472, 131008, 131009, 131021, 131026, 131030, 131047, 131049, 131050),
    132015: _template("paused", TEMPLATE_PAUSE),
    132016: _template("disabled"),
    **_each(_permanent, 131051, 131053, 131062, 135000),
    **_each(_permanent, 132000, 132001, 132005, 132007, 132008, 132012, 132018),
}

#: For answers without a code of Meta's.
HTTP_ACTIONS: Mapping[int, Make] = {
    **_each(_pause("auth_failed"), 401),
    **_each(_temporary, 408, 425),
    **_each(_pace(1.0), 429),
}


def to_problem(http_status: int, body: bytes, retry_after: str | None = None) -> Problem:
    """Read an error answer, JSON or not."""
    error = _error_object(body)
    code = error.get("code")
    data = error.get("error_data")
    detail = data.get("details") if isinstance(data, dict) else None
    return Problem(
        code=code if isinstance(code, int) else http_status,
        detail=str(detail or error.get("message") or f"HTTP {http_status}")[:500],
        http_status=http_status,
        transient=error.get("is_transient") is True,
        retry_after=_seconds(retry_after),
    )


def to_error(problem: Problem) -> SendError:
    """What to raise. Meta's code decides; the HTTP status only where there is none."""
    actions = HTTP_ACTIONS if problem.code == problem.http_status else ACTIONS
    make = actions.get(problem.code)
    if make is None:
        make = _temporary if problem.transient or problem.http_status >= 500 else _permanent
    return make(problem)


def told(code: str, said: str) -> SendError | None:
    """The same of an error in a status, which comes after the send was answered."""
    known = code.isascii() and code.isdigit()
    problem = Problem(code=int(code), detail=said, http_status=0, transient=False, retry_after=None) if known else None
    return to_error(problem) if problem else None


def _seconds(retry_after: str | None) -> float | None:
    known = retry_after is not None and re.fullmatch(r"[0-9]{1,6}", retry_after)
    return min(float(retry_after), MAX_RETRY_AFTER) if retry_after and known else None


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except ValueError:
        return {}
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {}
