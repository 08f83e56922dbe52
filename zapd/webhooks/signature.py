"""Standard Webhooks 1.0.0: symmetric (`v1`) and asymmetric (`v1a`). Pure: bytes in, text out.

Signed are `<webhook-id>.<webhook-timestamp>.` and the body exactly as it goes over the wire. `v1` is HMAC-SHA256; its
secret is shown as `whsec_` and padded standard base64, and the key is what that decodes to, never the text itself.
`v1a` is ed25519; the private key is `whsk_` and base64 of seed and public key (64 bytes), the public one `whpk_`.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX = "whsec_"
PRIVATE = "whsk_"
PUBLIC = "whpk_"
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


def new_private_key(random_bytes: Callable[[int], bytes]) -> str:
    """A fresh `whsk_…`."""
    seed = random_bytes(32)
    return PRIVATE + base64.b64encode(seed + _public_bytes(seed)).decode()


def public_key_of(private: str) -> str:
    """The `whpk_…` that belongs to a `whsk_…`. Raises ValueError."""
    return PUBLIC + base64.b64encode(_public_bytes(_seed_of(private))).decode()


def key_id_of(public: str) -> str:
    """A short name of a public key, the same everywhere."""
    return sha256(public.encode()).hexdigest()[:16]


def check(secret: str) -> None:
    """Raises ValueError when it is neither `whsec_…` nor `whsk_…`."""
    if secret.startswith(PRIVATE):
        _seed_of(secret)
    else:
        key_of(secret)


def sign(*, secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one entry per secret, so that a receiver may hold any of them.

    `timestamp` is in seconds, of this attempt. Raises ValueError on a malformed secret.
    """
    signed = _signed(message_id, str(timestamp), body)
    return " ".join([_entry(secret, signed) for secret in secrets])


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
    wanted = [_mac(secret, signed).encode() for secret in secrets]
    return any(hmac.compare_digest(mac, entry) for mac in wanted for entry in given)


def _signed(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode("utf-8", "replace") + body


def _entry(secret: str, signed: bytes) -> str:
    if secret.startswith(PRIVATE):
        return "v1a," + base64.b64encode(_private_key(secret).sign(signed)).decode()
    return "v1," + _mac(secret, signed)


def _seed_of(private: str) -> bytes:
    try:
        raw = base64.b64decode(private.removeprefix(PRIVATE).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError(f"must be {PRIVATE} and standard base64 with padding") from None
    if len(raw) != 64 or _public_bytes(raw[:32]) != raw[32:]:
        raise ValueError("must hold 64 bytes: a seed of ed25519 and the public key that belongs to it")
    return raw[:32]


@lru_cache(maxsize=1024)
def _private_key(private: str) -> "Ed25519PrivateKey":
    return _of_seed(_seed_of(private))


def _of_seed(seed: bytes) -> "Ed25519PrivateKey":
    # Loaded by the first endpoint that asks for it.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    return Ed25519PrivateKey.from_private_bytes(seed)


def _public_bytes(seed: bytes) -> bytes:
    return _of_seed(seed).public_key().public_bytes_raw()


def _mac(secret: str, signed: bytes) -> str:
    mac = _keyed(secret).copy()
    mac.update(signed)
    return base64.b64encode(mac.digest()).decode()


@lru_cache(maxsize=1024)
def _keyed(secret: str) -> hmac.HMAC:
    """HMAC with its key taken in: that costs more than the body of a webhook does."""
    return hmac.new(key_of(secret), digestmod="sha256")
