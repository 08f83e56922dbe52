"""Who is on the simulated network and what they answer, and the other settings of one account there."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from zapd.config.values import duration
from zapd.errors import FieldError, InvalidInput
from zapd.store.ledger import LedgerEntry
from zapd.whatsapp.sandbox_faults import Fault

ANYBODY = "*"

Seconds = Annotated[float, BeforeValidator(lambda v: duration(v) if isinstance(v, str) else v), Field(ge=0, le=86_400)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Reply(_Part):
    """What a contact answers, when the expression `when` is found in the text of the message; without one, always."""

    when: str | None = Field(default=None, max_length=200)
    type: str = Field(default="text", min_length=1, max_length=32)
    payload: dict[str, Any]
    after: Seconds = 0.0

    @field_validator("when")
    @classmethod
    def _compiles(cls, when: str | None) -> str | None:
        try:
            re.compile(when or "")
        except re.error as error:
            raise PydanticCustomError("rule", "should be a regular expression: {why}", {"why": str(error)}) from None
        return when


class SandboxContact(_Part):
    """One person, or with `*` everybody. No `replies`: as the account's `auto_reply` says."""

    phone: str = Field(min_length=1, max_length=64)
    exists: bool = True
    reads: bool = True
    replies: list[Reply] | None = Field(default=None, max_length=100)


class SandboxSettings(_Part):
    """A connection's own settings; what is not given is as `[sandbox]` says."""

    latency: Seconds | None = None
    pair_after: Seconds | None = None
    auto_reply: bool | None = None
    contacts: list[SandboxContact] = Field(default=[], max_length=1000)
    faults: list[Fault] = Field(default=[], max_length=1000)

    @classmethod
    def read(cls, config: bytes) -> "SandboxSettings":
        """Parse a connection's stored JSON. Raises InvalidInput that names every wrong field."""
        try:
            return cls.model_validate_json(config or b"{}")
        except ValidationError as error:
            fields = (FieldError(".".join(["config", *map(str, e["loc"])]), e["msg"]) for e in error.errors())
            raise InvalidInput(*fields) from None


class Answer(NamedTuple):
    """What a contact says, `after` seconds."""

    type: str
    payload: Mapping[str, Any]
    after: float = 0.0


class Cast:
    """The contacts of one account. The first that fits a number decides."""

    def __init__(self, contacts: Sequence[SandboxContact] = (), *, auto_reply: bool = True) -> None:
        self._contacts = contacts
        self._auto_reply = auto_reply
        self.speaks = auto_reply or any(contact.replies for contact in contacts)  #: anybody may answer

    def exists(self, peer: str) -> bool:
        """Whether this number is on the network."""
        contact = self._who(peer)
        return contact is None or contact.exists

    def reads(self, peer: str) -> bool:
        """Whether they tell that they have read it."""
        contact = self._who(peer)
        return contact is None or contact.reads

    def answer(self, entry: LedgerEntry) -> Answer | None:
        """What they answer to a message."""
        contact = self._who(entry.peer)
        text = _text(entry)
        if contact is None or contact.replies is None:
            return Answer("text", {"text": _echo(entry, text)}) if self._auto_reply else None
        for reply in contact.replies:
            if reply.when is None or re.search(reply.when, text):
                return Answer(reply.type, reply.payload, reply.after)
        return None

    def _who(self, peer: str) -> SandboxContact | None:
        return next((contact for contact in self._contacts if contact.phone in (peer, ANYBODY)), None)


def _text(entry: LedgerEntry) -> str:
    return str(orjson.loads(entry.payload).get("text", ""))[:4096] if entry.type == "text" else ""


def _echo(entry: LedgerEntry, text: str) -> str:
    return f"You wrote: {text}"[:4096] if entry.type == "text" else f"Got your {entry.type}"
