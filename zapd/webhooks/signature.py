"""Standard Webhooks 1.0.0, symmetric (`v1`). Pure: bytes in, text out.

Signed are `<webhook-id>.<webhook-timestamp>.` and the body exactly as it goes over the wire, with HMAC-SHA256. A
secret is shown as `whsec_` and padded standard base64; the key is what that decodes to, never the text itself.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable

PREFIX = "whsec_"
TOLERANCE = 300  #: seconds that a timestamp may lie in the past or the future, as every reference library has it
MIN_KEY, MAX_KEY, NEW_KEY = 24, 64, 32  #: bytes

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


def new_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A fresh `whsec_…`."""
    return PREFIX + base64.b64encode(random_bytes(NEW_KEY)).decode()


def key_of(secret: str) -> bytes:
    """The HMAC key inside `whsec_…`. Raises ValueError when it is none of 24 to 64 bytes."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"must begin with {PREFIX}")
    try:
        key = base64.b64decode(secret[len(PREFIX) :].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError(f"must be {PREFIX} and standard base64 with padding") from None
    if not MIN_KEY <= len(key) <= MAX_KEY:
        raise ValueError(f"must hold {MIN_KEY} to {MAX_KEY} bytes")
    return key


def sign(*, secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one entry per secret, so that a receiver may hold any of them.

    `timestamp` is in seconds, of this attempt. Raises ValueError on a malformed secret.
    """
    signed = _signed(message_id, str(timestamp), body)
    return " ".join(["v1," + _mac(key_of(secret), signed) for secret in secrets])


def verify(
    *,
    secrets: Iterable[str],
    message_id: str,
    timestamp: str,
    signature: str,
    body: bytes,
    now: int,
    tolerance: int = TOLERANCE,
) -> bool:
    """Whether any entry of the `webhook-signature` header fits any secret, and the timestamp is fresh.

    The three headers come from a stranger: whatever they hold, the answer is True or False and never an exception.
    Entries of other kinds (`v1a`) are skipped. `now` is in seconds. Raises ValueError only on a malformed secret.
    """
    if not _SECONDS.fullmatch(timestamp) or abs(now - int(timestamp)) > tolerance:
        return False
    given = [entry[3:].encode("utf-8", "replace") for entry in signature.split(" ") if entry.startswith("v1,")]
    signed = _signed(message_id, timestamp, body)
    wanted = [_mac(key_of(secret), signed).encode() for secret in secrets]
    return any(hmac.compare_digest(mac, entry) for mac in wanted for entry in given)


def _signed(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode("utf-8", "replace") + body


def _mac(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
