"""Names to vetted addresses. Every answer must pass the guard, and callers connect to the addresses they get here.

A name is looked up again for each new connection, so an answer that changes (DNS rebinding) is judged again; the few
seconds of memory only spare the name server a burst of equal questions.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from zapd.webhooks.guard import Guard

REMEMBER = 3.0  #: seconds that an answer, good or bad, is used again
THREADS = 16  #: lookups at once; own threads, so that slow name servers hold up nobody else's work
MAX_NAMES = 2000


@dataclass(frozen=True, slots=True)
class _Answer:
    until: float
    addresses: tuple[str, ...]
    error: OSError | None


class Resolver:
    """Looks up names in threads. `look_up` is the system's resolver, or another one in tests."""

    def __init__(
        self,
        *,
        guard: Guard,
        look_up: Callable[[str], tuple[str, ...]] | None = None,
        remember: float = REMEMBER,
    ) -> None:
        self._guard = guard
        self._remember = remember
        self._look_up = look_up or system_look_up
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="dns")
        self._answers: dict[str, _Answer] = {}

    async def addresses(self, host: str, *, tenant: str = "") -> tuple[str, ...]:
        """The addresses of a name, all of them vetted for this tenant; an IP address is vetted without a lookup.

        Raises Blocked when any is refused, OSError (socket.gaierror) when there is none.
        """
        try:
            ipaddress.ip_address(host)
            found: tuple[str, ...] = (host,)
        except ValueError:
            found = await self._ask(host)
        self._guard.check(found, tenant=tenant)
        return found

    def close(self) -> None:
        """End the threads; a lookup that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, host: str) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        known = self._answers.get(host)
        if known is None or known.until <= loop.time():
            known = await loop.run_in_executor(self._threads, self._answer, host, loop.time() + self._remember)
            if len(self._answers) >= MAX_NAMES:
                self._answers.clear()
            self._answers[host] = known
        if known.error is not None:
            raise known.error
        return known.addresses

    def _answer(self, host: str, until: float) -> _Answer:
        try:
            return _Answer(until, self._look_up(host), None)
        except OSError as error:
            return _Answer(until, (), error)
        except UnicodeError:  # a label that is too long for DNS
            return _Answer(until, (), socket.gaierror(socket.EAI_NONAME, "the name is not valid in DNS"))


def system_look_up(host: str) -> tuple[str, ...]:
    """getaddrinfo: IPv4 and IPv6 addresses in the order to try them (RFC 6724)."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
