"""The `Retry-After` header (RFC 9110 §10.2.3): how long a receiver wants to be left alone. Pure."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST = 36_000.0  #: seconds; a receiver cannot put us off for more than 10 hours
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def seconds_of(header: str | None, *, now_ms: int) -> float | None:
    """Seconds from now, 0 to `LONGEST`; None when the header is missing or means nothing."""
    if header is None:
        return None
    if _SECONDS.fullmatch(header):
        return min(float(header), LONGEST)
    try:
        at = parsedate_to_datetime(header)
        wait = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), LONGEST)
