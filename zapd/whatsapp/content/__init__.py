"""What a message may carry, per type. Checked when it is accepted, so that nothing malformed waits in a queue.

Limits are the Cloud API's, the strictest of the transports (wire facts §1.2). A type's models are in the file of its
noun.
"""

from collections.abc import Collection, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from zapd.errors import FieldError, InvalidInput
from zapd.whatsapp.content.about import EditPayload, ForwardPayload, ReactionPayload, RevokePayload
from zapd.whatsapp.content.interactive import INTERACTIVE
from zapd.whatsapp.content.media import AudioPayload, DocumentPayload, ImagePayload, StickerPayload, VideoPayload
from zapd.whatsapp.content.payload import NOT_BLANK, Payload
from zapd.whatsapp.content.people import ContactsPayload
from zapd.whatsapp.content.place import LocationPayload
from zapd.whatsapp.content.poll import PollPayload
from zapd.whatsapp.content.template import TemplatePayload
from zapd.whatsapp.content.text import TextPayload
from zapd.whatsapp.transport import FEATURES, MENTION, REPLY

#: Every type that some transport can send. `interactive` has a model for each of its kinds instead.
PAYLOADS: Mapping[str, type[Payload] | None] = {
    "text": TextPayload,
    "image": ImagePayload,
    "video": VideoPayload,
    "audio": AudioPayload,
    "document": DocumentPayload,
    "sticker": StickerPayload,
    "location": LocationPayload,
    "contacts": ContactsPayload,
    "reaction": ReactionPayload,
    "interactive": None,
    "template": TemplatePayload,
    "poll": PollPayload,
    "forward": ForwardPayload,
    "edit": EditPayload,
    "revoke": RevokePayload,
}

#: Types that are about an earlier message; its id is in `payload.message_id`.
ABOUT = frozenset({"reaction", "edit", "revoke", "forward"})

#: Everything that a transport may say it can do.
EVERYTHING = frozenset({*PAYLOADS, *(f"interactive.{kind}" for kind in INTERACTIVE), *FEATURES})


def validate(type_: str, payload: object, capabilities: Collection[str], replies: bool = False) -> None:
    """Check a payload for a transport that can do `capabilities`; `replies`: the message quotes another.

    Raises InvalidInput naming every wrong field.
    """
    if type_ not in PAYLOADS or type_ not in capabilities:
        can = sorted(name for name in capabilities if name in PAYLOADS)
        raise InvalidInput(FieldError("type", f"this connection can send: {', '.join(can)}"))
    model = PAYLOADS[type_] or _interactive(payload, capabilities)
    try:
        model.model_validate(payload)
    except ValidationError as error:
        raise InvalidInput(*map(_field, error.errors(include_url=False))) from None
    if replies and (REPLY not in capabilities or type_ in ABOUT):
        raise InvalidInput(FieldError("reply_to", f"this connection cannot quote a message in a {type_}"))
    if isinstance(payload, dict) and payload.get("mentions") and MENTION not in capabilities:
        raise InvalidInput(FieldError("payload.mentions", "this connection cannot mention people"))


def _interactive(payload: object, capabilities: Collection[str]) -> type[Payload]:
    kind = payload.get("type") if isinstance(payload, dict) else None
    if not isinstance(kind, str) or kind not in INTERACTIVE or f"interactive.{kind}" not in capabilities:
        can = [kind for kind in INTERACTIVE if f"interactive.{kind}" in capabilities]
        raise InvalidInput(FieldError("payload.type", f"this connection can send: {', '.join(can)}"))
    return INTERACTIVE[kind]


def _field(error: ErrorDetails) -> FieldError:
    rule = error["msg"]
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] == NOT_BLANK:
        rule = "must not be blank"
    return FieldError(".".join(["payload", *map(str, error["loc"])]), rule[:1].lower() + rule[1:])
