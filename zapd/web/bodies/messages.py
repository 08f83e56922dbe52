"""Messages and files."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from zapd.web.bodies.body import Body, Id, Moment, Payload, Priority

MAX_BULK = 1_000  #: messages in one request


class SendMessage(Body):
    """A message to send."""

    to: str = Field(min_length=1, max_length=64, description="a phone number with country code, or a JID")
    type: str = Field(min_length=1, max_length=32)
    payload: Payload
    message_id: Id | None = None
    priority: Priority | None = None
    send_at: Moment | None = None
    expires_at: Moment | None = None
    reply_to: str | None = Field(default=None, min_length=1, max_length=256)


class Typing(Body):
    """To whom typing is shown."""

    to: str = Field(min_length=1, max_length=64, description="a phone number with country code, or a JID")


class SendBulk(Body):
    """Messages to send; each is checked by itself, as a `SendMessage`."""

    messages: list[Annotated[Any, WithJsonSchema({"x-schema": "SendMessage"})]] = Field(
        min_length=1, max_length=MAX_BULK
    )


class UploadFile(Body):
    """A file, as a part of a form. The whole body may be the file instead."""

    file: Annotated[bytes, Field(json_schema_extra={"format": "binary"})]
