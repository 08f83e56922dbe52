"""A contact: one person under an id of ours, with every id by which the transports know them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zapd.records import record

#: By which ids a person is known. `match` is ours, for look-ups only, and is never shown.
KINDS = ("phone", "wa_id", "bsuid", "lid", "jid", "username")
MATCH = "match"

_BRAZIL = "55"


@record
class Contact:
    """Times in milliseconds since 1970 UTC. `aliases`: kind → values."""

    tenant: str
    id: str
    name: str | None
    opted_out_at: int | None
    opted_out_by: str | None  #: what made it so: a word, a provider's code, the API
    created_at: int
    updated_at: int
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alias:
    """One id of a person."""

    kind: str
    value: str


def match_key(number: str) -> str | None:
    """The same for both spellings of a Brazilian number: country, area and the last 8 digits (wire facts §3.2).

    For look-ups only, never to send to. None: not a phone number.
    """
    if not number.isdigit():
        return None
    if number.startswith(_BRAZIL) and len(number) in (12, 13):
        return number[:4] + number[-8:]
    return number


def country_length(number: str) -> int:
    """How many of a number's digits are its country code; 0: there is no such country."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE  # noqa: PLC0415  # loaded by the first number that is looked for

    return next((length for length in (1, 2, 3) if int(number[:length]) in COUNTRY_CODE_TO_REGION_CODE), 0)


def candidates(number: str) -> tuple[str, ...]:
    """The spellings under which a number may be on WhatsApp: two for a Brazilian mobile, else the number itself.

    The one with the ninth digit first. A landline, whose last eight digits begin with 2 to 5, has one form.
    """
    if not number.isdigit() or not number.startswith(_BRAZIL) or len(number) not in (12, 13):
        return (number,)
    area, last = number[2:4], number[-8:]
    if last[0] not in "6789" or (len(number) == 13 and number[4] != "9"):
        return (number,)
    return (f"{_BRAZIL}{area}9{last}", f"{_BRAZIL}{area}{last}")


def aliases_of_peer(peer: str) -> list[Alias]:
    """What the address of a chat says of the person behind it; nothing for groups and channels."""
    if peer.isdigit():
        return [Alias("phone", peer)]
    if peer.endswith("@lid"):
        return [Alias("lid", peer)]
    if "@" in peer:
        return []
    return [Alias("bsuid", peer)]


def with_match(aliases: list[Alias]) -> list[Alias]:
    """And the keys under which other spellings of the numbers are found."""
    keys = {match_key(alias.value) for alias in aliases if alias.kind in ("phone", "wa_id")}
    return [*aliases, *[Alias(MATCH, key) for key in sorted(filter(None, keys))]]
