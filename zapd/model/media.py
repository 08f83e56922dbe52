"""A file of a message: uploaded, fetched from a URL, or received."""

from dataclasses import dataclass
from enum import StrEnum


class MediaState(StrEnum):
    """Where its content is."""

    PENDING = "pending"  #: the provider holds it; a job downloads it
    READY = "ready"  #: on disk
    FAILED = "failed"  #: the provider has it no more, or it broke a rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Media:
    """The record of a file. Times in milliseconds since 1970 UTC."""

    tenant: str
    id: str
    state: MediaState
    mime: str
    size: int  #: bytes; while it is pending, what the provider says, or 0
    created_at: int
    kept_from: int  #: retention counts from here
    connection_id: str | None = None
    sha256: str | None = None  #: hexadecimal; the name of the file
    filename: str | None = None
    remote: bytes | None = None  #: what the transport needs to download it
    error: str | None = None
