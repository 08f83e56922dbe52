"""Whom a message goes to: what callers write → digits of an E.164 number, or a JID in its normal form.

Source: wire facts §3.1 (JID servers), §3.2 (Brazil's ninth digit), §1.9 (business-scoped user ids).
"""

import re
from functools import lru_cache

from zapd.errors import FieldError, InvalidInput

RULE = "a phone number with its country code, such as 5511999998888, or a JID"

_PHONE_SERVERS = {"s.whatsapp.net", "c.us"}  #: the user part is a phone number; c.us is the older form
_OPAQUE_SERVERS = {"g.us", "lid", "newsletter"}
_WRITTEN = re.compile(r"\+?[0-9][0-9 ().-]{4,30}")
_NO_COUNTRY = re.compile(r"1[1-9]9[0-9]{8}")  #: a mobile of São Paulo's state; America has no such area codes
_JID_USER = re.compile(r"([0-9-]{5,40})(?:\.[0-9]+)?(?::[0-9]+)?")  # user, then agent and device, which we drop
_BUSINESS_SCOPED = re.compile(r"[A-Z]{2}(\.ENT)?\.[A-Za-z0-9]{1,128}")


def recipient(to: str, *, field: str = "to") -> str:
    """Digits of an E.164 number, a JID (`…@g.us`, `…@lid`, `…@newsletter`) or a business-scoped user id.

    Raises InvalidInput that names `field`.
    """
    found = _normal(to.strip())
    if found is None:
        raise InvalidInput(FieldError(field, RULE))
    return found


def phone_number(to: str, *, field: str) -> str:
    """Digits of an E.164 number. Raises InvalidInput that names `field`."""
    found = _phone(to.strip()) if _WRITTEN.fullmatch(to.strip()) else None
    if found is None:
        raise InvalidInput(FieldError(field, "a phone number with its country code, such as 5511999998888"))
    return found


def window_key(peer: str) -> str:
    """One name for all spellings of a number: Brazil's with and without the ninth digit are one. Not for sending."""
    brazilian = re.fullmatch(r"55([1-9][0-9])9?([0-9]{8})", peer)
    return f"55{brazilian[1]}{brazilian[2]}" if brazilian else peer


def is_phone(peer: str) -> bool:
    """Whether a normal form is a phone number."""
    return peer.isdigit()


def is_business_scoped(peer: str) -> bool:
    """Whether a normal form is Meta's id of a user whose number the business does not see."""
    return _BUSINESS_SCOPED.fullmatch(peer) is not None


@lru_cache(maxsize=20_000)  # phonenumbers takes tens of microseconds, and senders write to the same people again
def _normal(to: str) -> str | None:
    if "@" in to:
        return _jid(to)
    if _BUSINESS_SCOPED.fullmatch(to):
        return to
    return _phone(to) if _WRITTEN.fullmatch(to) else None


def _jid(to: str) -> str | None:
    user, _, server = to.partition("@")
    parts = _JID_USER.fullmatch(user)
    server = server.lower()
    if parts is None or server not in _PHONE_SERVERS | _OPAQUE_SERVERS:
        return None
    name = parts.group(1)
    if server in _OPAQUE_SERVERS:
        return f"{name}@{server}"
    # A phone's JID is WhatsApp's own spelling of the number: Brazilians keep the one with eight digits.
    return name if name.isdigit() and len(name) <= 15 else None


def _phone(to: str) -> str | None:
    import phonenumbers  # noqa: PLC0415  # loaded by the first number that is checked

    digits = re.sub(r"[^0-9]", "", to)
    if _NO_COUNTRY.fullmatch(digits):
        return None
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return None
    # "Possible" is country and length. "Valid" would refuse new ranges and the Brazilian numbers without the 9.
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
