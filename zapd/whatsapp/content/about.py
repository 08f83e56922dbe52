"""What is about an earlier message: reaction, edit, revoke, forward. `message_id` is ours or the provider's."""

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from zapd.whatsapp.content.payload import MessageRef, Payload, broken, said

_SIGNS_IN_LETTERS = frozenset("\N{INFORMATION SOURCE}")  # an emoji that Unicode counts among the letters


def _emoji(text: str) -> str:
    """Providers take a word for a reaction, and show nothing."""
    plain = text.isascii() or any(sign.isalpha() and sign not in _SIGNS_IN_LETTERS for sign in text)
    if text and plain:
        raise broken("must be one emoji, or empty to take the reaction away")
    return text


class ReactionPayload(Payload):
    """An emoji on a message; an empty one takes it away."""

    message_id: MessageRef
    emoji: Annotated[str, StringConstraints(max_length=32, pattern=r"^\S*$"), AfterValidator(_emoji)]


class EditPayload(Payload):
    """Another text for a message that was sent from this account."""

    message_id: MessageRef
    text: Annotated[str, said(4096)]


class RevokePayload(Payload):
    """Deletes a message for everyone."""

    message_id: MessageRef


class ForwardPayload(Payload):
    """Sends what a message of this account says to somebody else."""

    message_id: MessageRef
