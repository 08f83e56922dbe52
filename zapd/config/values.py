"""How values are written in the file, and what they become: durations are seconds, rates are per minute, sizes bytes.

Every parser raises ValueError whose text says what is allowed: it becomes the end of a `key = value: …` line.
"""

import os
import re
import shlex
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from zapd.expressions import Expression
from zapd.model.timetable import check_cron

_NUMBER_UNIT = re.compile(r"^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PER_MINUTE = {"s": 60.0, "min": 1.0, "h": 1 / 60}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

Network = IPv4Network | IPv6Network


def none_if_empty(value: object) -> object:
    """TOML has no null: `""` stands for it."""
    return None if value == "" else value


def _no_truth(value: object) -> object:
    if isinstance(value, bool):  # Python takes `true` for 1
        raise ValueError("should be a number, not true or false")
    return value


Integer = Annotated[int, BeforeValidator(_no_truth)]
Number = Annotated[float, BeforeValidator(_no_truth)]

# Far beyond what anybody means, and far below what SQL, Redis and the clock can count.
MOST = 1_000_000_000
_LONGEST = 36_500 * 86_400.0


def duration(value: object) -> float:
    """Seconds of `250ms`, `30s`, `5m`, `1h` or `7d`. Raises ValueError."""
    found = _NUMBER_UNIT.match(value) if isinstance(value, str) else None
    if found is None or found[2] not in _SECONDS:
        raise ValueError('should be a duration such as "250ms", "30s", "5m", "1h" or "7d"')
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > _LONGEST:
        raise ValueError("should be at most 36500d")
    return seconds


def _rate(value: object) -> float | None:
    if value == "":
        return None
    number, _, unit = value.partition("/") if isinstance(value, str) else ("", "", "")
    if unit not in _PER_MINUTE or not re.fullmatch(r"\d+(\.\d+)?", number) or float(number) == 0:
        raise ValueError('should be a rate such as "10/s", "80/min" or "500/h", or "" for no limit')
    if float(number) > MOST:
        raise ValueError(f"should be at most {MOST} in its unit")
    return float(number) * _PER_MINUTE[unit]


def _size(value: object) -> int:
    found = _NUMBER_UNIT.match(value) if isinstance(value, str) else None
    if found is None or found[2] not in _BYTES:
        raise ValueError('should be a size such as "64KiB" or "1MiB"')
    size = float(found[1]) * _BYTES[found[2]]
    if size > _BYTES["GiB"] * 1024:
        raise ValueError("should be at most 1024GiB")
    return round(size)


def _networks(value: object) -> tuple[Network, ...]:
    # The environment can only hold text, so a list may also come as `10.0.0.0/8,192.168.0.0/16`.
    items = [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value
    try:
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
            raise TypeError  # a bare number is an address too, for Python
        return tuple(ip_network(item) for item in items)
    except (ValueError, TypeError) as error:
        raise ValueError('should be a list of networks such as ["10.0.0.0/8", "fd00::/8"]') from error


def _words(value: object) -> tuple[str, ...]:
    # The environment can only hold text, so a command may also come as a shell would read it.
    words = shlex.split(value) if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) and word for word in words):
        raise ValueError('should be a list of words such as ["env", "GOMEMLIMIT=400MiB"]')
    return tuple(words)


def split_listen(value: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8470` or `[::1]:8470`. Raises ValueError."""
    host, _, port = value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in bare and bare == host) or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError('should be HOST:PORT such as "127.0.0.1:8470" or "[::1]:8470"')
    return bare, int(port)


def _listen(value: str) -> str:
    split_listen(value)
    return value


def _redis_url(value: str) -> str:
    try:
        known = value == "embedded" or (urlsplit(value).scheme in ("redis", "rediss", "unix") and "://" in value)
        known = known and (urlsplit(value).port or 0) >= 0  # reading a port that is no number raises
    except ValueError:
        known = False
    if not known:
        raise ValueError('should be "embedded", redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH')
    return value


def _database_url(value: str) -> str:
    if value == "":
        return value
    scheme, separator, rest = value.partition("://")
    drivers = {
        "sqlite": "sqlite+aiosqlite",
        "sqlite+aiosqlite": "sqlite+aiosqlite",
        "postgres": "postgresql+asyncpg",
        "postgresql": "postgresql+asyncpg",
        "postgresql+asyncpg": "postgresql+asyncpg",
    }
    if not separator or scheme not in drivers:
        raise ValueError('should be "", sqlite:///FILE or postgresql://USER@HOST/NAME')
    return f"{drivers[scheme]}://{rest}"


def _http_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+(/[^\s]*)?", value):
        raise ValueError("should be a URL that starts with https:// or http://")
    return value.rstrip("/")


def _http_url_or_none(value: str) -> str:
    return value and _http_url(value)


def _jmespath(value: str) -> str:
    Expression(value)
    return value


def _sender(value: str) -> str:
    address = parseaddr(value)[1]
    if not value.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
        raise ValueError('should be an address such as "Shop <shop@example.com>"')
    return value


def _directory(value: str) -> str:
    if value and not os.path.isdir(value):  # Path.is_dir raises for a name that is too long
        raise ValueError("should be a directory that is there")
    return value


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("should be one line without control characters")
    return value


def _cron_line(value: str) -> str:
    check_cron(value)
    return value


Duration = Annotated[float, BeforeValidator(duration)]  #: seconds
Rate = Annotated[float | None, BeforeValidator(_rate)]  #: per minute; None: no limit
Size = Annotated[int, BeforeValidator(_size)]  #: bytes
Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Listen = Annotated[str, AfterValidator(_listen)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
Directory = Annotated[str, AfterValidator(_directory)]
OneLine = Annotated[str, AfterValidator(_one_line)]
JmesPath = Annotated[str, AfterValidator(_jmespath)]
Sender = Annotated[str, AfterValidator(_sender)]
MaybeUrl = Annotated[str, AfterValidator(_http_url_or_none)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
CronLine = Annotated[str, AfterValidator(_cron_line)]
