"""Templates to answers: the language, the headers, the filters that templates use."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import orjson
from aiohttp import web

from zapd.announce import iso
from zapd.model.message import Direction, Message, MessageStatus
from zapd.web.dashboard import words

LANGUAGE_COOKIE = "zapd-language"
#: Files of our own only, no inline code, and nothing but our own policy may make markup out of text.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types zapd"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TICKS = {
    MessageStatus.SENT: "✓",
    MessageStatus.DELIVERED: "✓✓",
    MessageStatus.READ: "✓✓",
    MessageStatus.PLAYED: "✓✓",
    MessageStatus.FAILED: "↻",
    MessageStatus.HELD: "?",
    MessageStatus.DLQ: "!",
    MessageStatus.EXPIRED: "⌛",
    MessageStatus.CANCELED: "×",
}


def language_of(request: web.Request) -> str:
    """The reader's language: what they chose, else what the browser asks for, else English."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen is not None and chosen in words.LANGUAGES:
        return chosen
    return "pt-BR" if request.headers.get("Accept-Language", "").lower().startswith("pt") else "en"


def rendered(template: str, language: str, values: Mapping[str, Any]) -> str:
    """The template's text."""
    text: str = _environment(language).get_template(template).render(values)
    return text


def page(request: web.Request, template: str, values: Mapping[str, Any], status: int = 200) -> web.Response:
    """A whole page."""
    language = language_of(request)
    text = rendered(template, language, {"path": request.path, **values})
    return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)


@cache
def _environment(language: str) -> Any:
    import jinja2  # noqa: PLC0415  # 4 MiB that a daemon without viewers does not need

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zapd.web.dashboard"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    translate = words.translator(language)
    environment.globals.update(_=translate, language=language, languages=words.LANGUAGES)
    environment.filters.update(iso=iso, phone=phone, ticks=ticks, fingerprint=fingerprint)
    environment.filters["excerpt"] = lambda message: excerpt(message, translate)
    environment.filters["said"] = lambda word: translate(str(word).replace("_", " "))
    environment.tests["outbound"] = lambda message: message.direction is Direction.OUTBOUND
    return environment


def phone(peer: str) -> str:
    """A recipient as people write it."""
    if not peer.isdigit():
        return peer
    import phonenumbers  # noqa: PLC0415  # loaded by the first number that is checked

    try:
        number = phonenumbers.parse("+" + peer)
    except phonenumbers.NumberParseException:
        return peer
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def ticks(message: Message) -> str:
    """The mark beside an outbound message."""
    return _TICKS.get(message.status, "◷") if message.direction is Direction.OUTBOUND else ""


def fingerprint(text: str) -> str:
    """A short name for a text: it changes when the text does."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def excerpt(message: Message, translate: Callable[[str], str]) -> str:
    """What a person reads of a message; of kinds without words, their name."""
    kind = f"[{translate(message.type)}]"
    try:
        payload = orjson.loads(message.payload)
    except orjson.JSONDecodeError:
        payload = {}
    for name in ("text", "caption", "body", "emoji", "name", "title", "filename"):
        value = payload.get(name) if isinstance(payload, dict) else None
        if isinstance(value, str) and value:
            return value if message.type == "text" else f"{kind} {value}"
    return kind
