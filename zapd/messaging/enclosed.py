"""What a message refers to: an earlier message that it quotes, changes or passes on, and its files."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from zapd.errors import FieldError, InvalidInput
from zapd.ids import is_ours
from zapd.model.message import Direction, Message, MessageStatus
from zapd.store.messages import MessageStore
from zapd.whatsapp.content import ABOUT
from zapd.whatsapp.numbers import is_phone, window_key
from zapd.whatsapp.transport import NOTHING, Enclosed, MediaFile, Permanent, RetryAt, Target

NOT_SENT = "target_not_sent"  #: the code of a message about one that has not left
LOOK_AGAIN = 5.0  #: seconds until a message is tried again whose target has not left yet

#: What a target must be, by the type of the message that refers to it. A reply may go to anything.
_OWN = frozenset({"edit", "revoke"})
_SAME_CHAT = frozenset({*_OWN, "reaction"})
_KNOWN = frozenset({"forward"})
_NEVER = frozenset({MessageStatus.DLQ, MessageStatus.CANCELED, MessageStatus.EXPIRED})


class Enclosing:
    """Finds what messages refer to, by our ids and by the provider's. `files_of` gives a message's files."""

    def __init__(
        self, *, messages: MessageStore, files_of: Callable[[Message], Awaitable[Mapping[str, MediaFile]]]
    ) -> None:
        self._messages = messages
        self._files_of = files_of

    async def check(
        self,
        *,
        tenant: str,
        connection_id: str,
        peer: str,
        type_: str,
        payload: Mapping[str, Any],
        reply_to: str | None,
    ) -> None:
        """Check at accept that the target can be one. Raises InvalidInput."""
        ref, field = _ref(type_, payload, reply_to)
        if ref is None:
            return
        found = await self._find(tenant, connection_id, ref)
        if found is None and (is_ours(ref, "msg") or type_ in _OWN | _KNOWN):
            raise InvalidInput(FieldError(field, f"there is no message {ref} on this connection"))
        if found is not None and type_ in _OWN and found.direction is not Direction.OUTBOUND:
            raise InvalidInput(FieldError(field, f"is a message of the contact; a {type_} is for your own messages"))
        if found is not None and type_ in _SAME_CHAT and _others(found.peer, peer):
            raise InvalidInput(FieldError(field, f"is a message from or to somebody else; a {type_} goes to the same"))
        if found is not None and type_ in _KNOWN and found.type in {"unknown", *ABOUT}:
            raise InvalidInput(FieldError(field, f"is of type {found.type}, which cannot be forwarded"))

    async def of(self, message: Message) -> Enclosed:
        """What to hand to the transport with a message. Raises a SendError when it cannot go yet, or ever."""
        media = await self._files_of(message)
        if message.reply_to is None and message.type not in ABOUT:
            return Enclosed(media=media) if media else NOTHING
        payload = orjson.loads(message.payload) if message.type in ABOUT else {}
        ref, _ = _ref(message.type, payload, message.reply_to)
        assert ref is not None
        target = await self._target(message, ref)
        if message.type == "forward":
            media = await self._files_of(replace(message, type=target.type, payload=target.payload))
        return Enclosed(target=target, media=media)

    async def _target(self, message: Message, ref: str) -> Target:
        found = await self._find(message.tenant, message.connection_id, ref)
        if found is None:
            return Target(provider_id=ref, peer=message.peer, from_me=False, type="unknown", payload=b"{}", at=0)
        if found.provider_id is None:
            if found.status in _NEVER:
                raise Permanent(NOT_SENT, f"message {found.id} is {found.status}")
            raise RetryAt(NOT_SENT, f"message {found.id} is {found.status}", wait=LOOK_AGAIN)
        return target_of(found)

    async def _find(self, tenant: str, connection_id: str, ref: str) -> Message | None:
        found = await self._messages.get(tenant, ref)
        if found is not None and found.connection_id == connection_id:
            return found
        for direction in (Direction.INBOUND, Direction.OUTBOUND):
            found = await self._messages.by_provider_id(tenant, connection_id, direction, ref)
            if found is not None:
                return found
        return None


def _others(first: str, second: str) -> bool:
    """Whether these are two people for certain: an id of WhatsApp's own may be the one with a number."""
    return is_phone(first) and is_phone(second) and window_key(first) != window_key(second)


def target_of(message: Message) -> Target:
    """A message that the provider knows, as something to refer to."""
    assert message.provider_id is not None
    return Target(
        provider_id=message.provider_id,
        peer=message.peer,
        from_me=message.direction is Direction.OUTBOUND,
        type=message.type,
        payload=message.payload,
        at=message.sent_at or message.created_at,
    )


def _ref(type_: str, payload: Mapping[str, Any], reply_to: str | None) -> tuple[str | None, str]:
    return (payload["message_id"], "payload.message_id") if type_ in ABOUT else (reply_to, "reply_to")
