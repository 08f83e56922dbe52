"""The process: its files, its port, its end, its logs."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from zapd.config.sections.section import Positive, Section
from zapd.config.values import (
    Duration,
    Listen,
    Networks,
    Size,
    none_if_empty,
    split_listen,
)


class StateConfig(Section):
    """Where zapd keeps its files."""

    # Beside the checkout and not in the home directory: two checkouts never share a database, what a trial leaves
    # behind goes with its directory, and it can be seen.
    dir: Annotated[Path, AfterValidator(Path.expanduser)] = Path("state")
    """Directory of the database, the embedded Redis and the keys; "" is $STATE_DIRECTORY (systemd), else ./state."""
    data_key_file: Annotated[Path | None, BeforeValidator(none_if_empty)] = None
    """File with the key that seals stored secrets; "" is data.key in the state directory, made on the first start."""


class HttpConfig(Section):
    """The HTTP listener."""

    listen: Listen = "127.0.0.1:8470"
    """Address and port of the API; loopback receivers of webhooks are allowed only while this is a loopback address."""
    body_limit: Annotated[Size, Field(ge=1024)] = 1024**2
    """Largest request body; a larger one is answered with 413."""
    body_timeout: Positive = 30.0
    """How long a request's body may take to arrive; a slower one is answered with 408."""
    trusted_proxies: Networks = ()
    """Networks whose X-Forwarded-For is believed; leave it empty when clients connect directly."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return split_listen(self.listen)

    @property
    def loopback_only(self) -> bool:
        """Whether nobody outside this machine can connect."""
        host = self.address[0]
        return host in ("localhost", "::1") or host.startswith("127.")


class DrainConfig(Section):
    """Stopping."""

    deadline: Annotated[Duration, Field(gt=0, le=900)] = 30.0
    """How long running jobs may go on after SIGTERM; the rest is handed back. TimeoutStopSec must be 30 s longer."""


class LogConfig(Section):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important level that is written; message bodies and phone numbers can only appear at debug."""
    format: Literal["auto", "json", "journal", "text"] = "auto"
    """"json" is one object a line, "text" is for people, "journal" is journald's protocol, "auto" finds out which."""
