"""What a message may carry, per type. Checked when it is accepted, so that nothing malformed waits in a queue.

Limits are the Cloud API's, the strictest of the transports (wire facts §1.2).
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from zapd.errors import FieldError, InvalidInput


class _Payload(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPayload(_Payload):
    """`preview_url` asks for a preview of the first link."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"\S")]
    preview_url: bool = False


class TemplatePayload(_Payload):
    """A template that Meta approved. `components` are Meta's own objects and pass through as they are."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]{2,10}$")]
    components: list[dict[str, Any]] = []


#: Every type that some transport can send.
PAYLOADS: Mapping[str, type[_Payload]] = {"text": TextPayload, "template": TemplatePayload}


def validate(type_: str, payload: object, capabilities: Collection[str]) -> None:
    """Check a payload for a transport that can send `capabilities`. Raises InvalidInput naming every wrong field."""
    if type_ not in PAYLOADS or type_ not in capabilities:
        raise InvalidInput(FieldError("type", f"this connection can send: {', '.join(sorted(capabilities))}"))
    try:
        PAYLOADS[type_].model_validate(payload)
    except ValidationError as error:
        raise InvalidInput(*(_field(e["loc"], e["type"], e["msg"]) for e in error.errors(include_url=False))) from None


def _field(loc: tuple[int | str, ...], kind: str, rule: str) -> FieldError:
    if kind == "string_pattern_mismatch" and loc == ("text",):
        rule = "must not be blank"
    return FieldError(".".join(["payload", *map(str, loc)]), rule[:1].lower() + rule[1:])
