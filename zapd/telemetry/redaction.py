"""The last line of defence for logs: masks what looks like a phone number or a secret.

Callers must not log such things at info level in the first place; this catches what slips through in error texts of
libraries and in tracebacks.
"""

import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache

MASK = "***"

# The names of fields that never show their value, wherever they stand.
_SECRET_FIELD = re.compile(
    r"secret|token|password|passwd|authorization|cookie|signature|(api|private|data)[_-]?key|credential"
    r"|^(payload|body|text|qr|phone|peer|raw)$",
    re.IGNORECASE,
)

_PLAIN = frozenset({"time", "level", "logger", "event"})  #: written by us, from literals

# One look that tells most values apart from those that need the rules: this runs for each field of each line.
_SUSPECT = re.compile(r"\d{8}|\+\d|bearer|basic|whsec_|@|=", re.IGNORECASE)

_RULES = (
    # A run of 8 digits or more that is no part of a word: an id such as msg_01J9… keeps its digits.
    (re.compile(r"(?<![\w.-])\+?\d{8,}(?![\w-])"), MASK),
    (re.compile(r"\+\d[\d ().-]{7,}\d"), MASK),
    (re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]+"), rf"\1 {MASK}"),
    (re.compile(r"whsec_[\w+/=-]+"), f"whsec_{MASK}"),
    (re.compile(r"(?<=://)[^/@\s]+@"), f"{MASK}@"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), MASK),  # an e-mail address, or how WhatsApp names a person
    (re.compile(r"(?i)([?&][\w.-]*(?:token|secret|key|signature)=)[^&\s\"']+"), rf"\1{MASK}"),
)


def redacted(text: str) -> str:
    """The text with what looks like a phone number or a secret masked."""
    if not _SUSPECT.search(text):
        return text
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact(_logger: object, _method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """A structlog processor."""
    for name, value in event.items():
        if name not in _PLAIN:
            event[name] = _value(name, value)
    return event


@lru_cache(maxsize=1024)
def _secret(field: str) -> bool:
    return _SECRET_FIELD.search(field) is not None


def _value(name: str, value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if _secret(name):
        return MASK
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: _value(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(name, item) for item in value]
    return value if isinstance(value, int) else redacted(str(value))
