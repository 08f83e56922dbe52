"""Where a Redis is: what its URL says, in the words that redis-cli and other clients use."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_SHOULD = 'should be "embedded", redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH'
_PLAIN = {"db"}
_TLS = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    """One server. `path` is that of its Unix socket; empty: TCP."""

    path: str = ""
    host: str = "localhost"
    port: int = 6379
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    tls: bool = False
    ca_file: str = ""  #: whom to trust; empty: whom the system trusts
    cert_file: str = ""  #: to prove who we are
    key_file: str = ""
    verify: bool = True  #: its certificate
    check_hostname: bool = True


def redis_address(url: str) -> RedisAddress:
    """Parse redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://… or unix://[USER:PASSWORD@]/PATH[?db=DB].

    Options of TLS: ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs=none, ssl_check_hostname=false. Raises
    ValueError.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 6379  # reading a port that is no number raises
    except ValueError:
        raise ValueError(_SHOULD) from None
    unix = parts.scheme == "unix"
    if "://" not in url or parts.scheme not in ("redis", "rediss", "unix") or (unix and len(parts.path) < 2):
        raise ValueError(_SHOULD)
    options = _options(parts)
    return RedisAddress(
        path=unquote(parts.path) if unix else "",
        host=unquote(parts.hostname or "localhost"),
        port=port,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=_database(options.get("db") or ("" if unix else parts.path.strip("/"))),
        tls=parts.scheme == "rediss",
        ca_file=options.get("ssl_ca_certs", ""),
        cert_file=options.get("ssl_certfile", ""),
        key_file=options.get("ssl_keyfile", ""),
        verify=options.get("ssl_cert_reqs") != "none",
        check_hostname=options.get("ssl_check_hostname", "").lower() not in ("false", "no", "0"),
    )


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _PLAIN | _TLS if parts.scheme == "rediss" else _PLAIN
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"has an option that is not known, {unknown[0]}; known here: {', '.join(sorted(known))}")
    return options


def _database(text: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise ValueError("should end with the number of the database, as in redis://HOST:PORT/0")
    return int(text)
