"""API keys."""

from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from zapd.announce import iso
from zapd.model.access import ApiKey
from zapd.web.answers.page import Time, at


class KeyAnswer(TypedDict):
    """An API key, without its secret."""

    id: str
    label: str
    scopes: list[str]
    connection_id: str | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None
    rate_per_minute: int | None


def key(k: ApiKey) -> KeyAnswer:
    """One key, without its hash."""
    return {
        "id": k.id,
        "label": k.label,
        "scopes": sorted(k.scopes),
        "connection_id": k.connection_id,
        "created_at": iso(k.created_at),
        "expires_at": at(k.expires_at),
        "revoked_at": at(k.revoked_at),
        "last_used_at": at(k.last_used_at),
        "rate_per_minute": k.rate_per_minute,
    }
