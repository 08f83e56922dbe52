"""What all payloads have in common: strict JSON shapes, and a file that is named by `url` or by `media_id`."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from zapd.errors import InvalidInput
from zapd.whatsapp.numbers import recipient

MAX_MENTIONS = 256
NOT_BLANK = r"\S"


class Payload(BaseModel):
    """One kind's payload. Built at its first use: an idle daemon does not pay for kinds that nobody sends."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


def broken(rule: str) -> PydanticCustomError:
    """What a validator raises: `rule` says what is allowed."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule})


def said(max_length: int) -> StringConstraints:
    """Of a string: not blank, and not longer than this many characters."""
    return StringConstraints(min_length=1, max_length=max_length, pattern=NOT_BLANK)


def whom(to: str) -> str:
    """A person or chat, in any spelling that `to` may have."""
    try:
        recipient(to)
    except InvalidInput as error:
        raise broken(error.fields[0].rule) from None
    return to


#: The provider's or our own id of an earlier message.
MessageRef = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Url = Annotated[str, StringConstraints(min_length=8, max_length=2048, pattern=r"^https?://\S+$")]


class File(Payload):
    """A file: `url` is fetched when the message is accepted, `media_id` comes from `POST /media` or from a message."""

    url: Url | None = None
    media_id: Annotated[str, StringConstraints(pattern=r"^med_[0-9A-Za-z]{1,64}$")] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.url is None) == (self.media_id is None):
            raise broken("needs one of url and media_id")
        return self


class Mentioning(Payload):
    """A payload whose text may name people: `@5511999998888` in the text, and the number in `mentions`."""

    # A factory: a default list would be copied deeply for each message.
    mentions: Annotated[list[str], Field(max_length=MAX_MENTIONS, default_factory=list)]

    @model_validator(mode="after")
    def _known(self) -> Self:
        for mentioned in self.mentions:
            whom(mentioned)
        return self
