"""What a connection of WhatsApp Web is told: nothing, or the phone on which a code is to be typed."""

import importlib.util
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from zapd.errors import FieldError, InvalidInput
from zapd.whatsapp.numbers import is_phone, recipient

RULE = "a phone number with its country code, such as 5511999998888"
MISSING = "needs the extra packages: pip install 'zapd[web]' (GPL-3.0 code is among them, see README)"


def _phone(value: object) -> str | None:
    if value in (None, ""):  # a form that was not filled in
        return None
    digits = recipient(value, field="config.phone") if isinstance(value, str) else ""
    if not is_phone(digits):
        raise ValueError(RULE)
    return digits


class WebConfig(BaseModel):
    """A connection's own settings."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    phone: Annotated[str | None, BeforeValidator(_phone)] = None

    @classmethod
    def read(cls, config: bytes) -> "WebConfig":
        """Parse a connection's stored JSON. Raises InvalidInput."""
        try:
            return cls.model_validate_json(config or b"{}")
        except (ValidationError, InvalidInput):
            raise InvalidInput(FieldError("config.phone", RULE)) from None


def installed() -> bool:
    """Whether the extra packages are there; they are found, not imported."""
    return importlib.util.find_spec("neonize") is not None


def check_config(config: Mapping[str, Any]) -> None:
    """What is checked before a connection is made. Raises InvalidInput, also when the extra is not installed."""
    if not installed():
        raise InvalidInput(FieldError("transport", MISSING))
    WebConfig.read(orjson.dumps(dict(config)))
