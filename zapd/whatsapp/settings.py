"""A connection's settings for its transport, as they are stored."""

from typing import Self

from pydantic import BaseModel, ValidationError

from zapd.errors import FieldError, InvalidInput


class TransportConfig(BaseModel):
    """What a transport needs to know of one connection."""

    @classmethod
    def read(cls, config: bytes) -> Self:
        """Parse a connection's stored JSON. Raises InvalidInput that names every wrong field, without its value."""
        try:
            return cls.model_validate_json(config or b"{}")
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)
            fields = (FieldError(".".join(["config", *map(str, e["loc"])]), e["msg"]) for e in problems)
            raise InvalidInput(*fields) from None
