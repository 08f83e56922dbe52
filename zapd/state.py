"""What the daemon says of itself: `/health`, `/ready`, `/status`, systemd's STATUS line."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from zapd.errors import ZapdError

#: One part of `/status`: a figure or a JSON object. A part that cannot be asked says why instead.
Part = Callable[[], Awaitable[Any]]


class State:
    """The `System` of the web package. `phase` is `starting`, `running` or `draining`."""

    def __init__(
        self,
        *,
        version: str,
        services: Callable[[], Mapping[str, Mapping[str, Any]]],
        parts: Mapping[str, Part],
        paused: Callable[[], str] = lambda: "",
    ) -> None:
        """`paused` names the queues that an operator has paused."""
        self.phase = "starting"
        self._version = version
        self._services = services
        self._parts = parts
        self._paused = paused

    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """Per part of the process: `up`, `restarts`, `failed`."""
        return self._services()

    def not_ready(self) -> str | None:
        """Why this daemon takes no part at the moment; None: it does. Redis being away is no reason: intake goes on."""
        return None if self.phase == "running" else self.phase

    async def status(self) -> Mapping[str, Any]:
        """The whole state, as JSON."""
        found: dict[str, Any] = {"version": self._version, "phase": self.phase, "services": self._services()}
        for name, part in self._parts.items():
            try:
                found[name] = await part()
            except ZapdError as error:
                found[name] = {"unavailable": str(error)}
        return found

    def summary(self) -> str:
        """One line for `systemctl status`."""
        if self.phase == "draining":  # parts that are down now were told to
            return self.phase
        down = [name for name, service in self._services().items() if not service["up"]]
        paused = self._paused()
        return self.phase + (f", paused: {paused}" if paused else "") + (f", down: {' '.join(down)}" if down else "")
