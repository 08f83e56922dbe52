"""Where in a payload files are named, and of which kind each must be. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zapd.whatsapp.content.media import FILES

Json = dict[str, Any]

#: Types whose payload may name a file; others are not looked through.
WITH_FILES = frozenset({*FILES, "interactive", "template"})

_IN_HEADERS = ("image", "video", "document")


@dataclass(frozen=True)
class Place:
    """`holder` is the object with `url` or `media_id`; `field` is its path, for errors."""

    kind: str  #: image, video, audio, document or sticker
    holder: Json
    field: str
    voice: bool = False


def places(type_: str, payload: Json) -> Iterator[Place]:
    """Every file that a checked payload names."""
    if type_ in FILES:
        yield Place(type_, payload, "payload", voice=payload.get("voice") is True)
    elif type_ == "interactive":
        yield from _held(payload.get("header"), "payload.header")
    elif type_ == "template":
        yield from _in_components(payload.get("components"), "payload.components")


def _in_components(components: Any, field: str) -> Iterator[Place]:
    for n, component in enumerate(components if isinstance(components, list) else ()):
        if not isinstance(component, dict):
            continue
        here = f"{field}.{n}"
        for p, parameter in enumerate(component.get("parameters") or ()):
            yield from _held(parameter, f"{here}.parameters.{p}")
        for c, card in enumerate(component.get("cards") or ()):
            if isinstance(card, dict):
                yield from _in_components(card.get("components"), f"{here}.cards.{c}.components")


def _held(parent: Any, field: str) -> Iterator[Place]:
    for kind in _IN_HEADERS:
        holder = parent.get(kind) if isinstance(parent, dict) else None
        if isinstance(holder, dict) and ("url" in holder or "media_id" in holder):
            yield Place(kind, holder, f"{field}.{kind}")
