"""Listeners: Python callables of the operator's, by type of event.

They are named in [listeners] as `package.module:Name`, or by the name of an entry point in the group `zapd.listeners`;
an entry point whose object has `types` listens by itself. A class is made once, without arguments; what is called is
its `handle`, or itself. A function that is not async runs in a thread.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import structlog

from zapd.errors import ConfigError, ZapdError
from zapd.model.access import DEFAULT_TENANT
from zapd.model.webhook import wants

log = structlog.get_logger("zapd.events")

GROUP = "zapd.listeners"
BUILT_IN = ("email", "whatsapp")
THREADS = 8
TIMEOUT = 25.0  #: seconds; below the timeout of event:process

Called = Callable[[Mapping[str, Any]], Any]


class ListenerFailed(ZapdError):
    """The listener raised, or took too long."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Listeners:
    """The listeners by type of event. `close` it.

    `named`: those that routes of the configuration file call. A route of the API may call what is loaded already:
    its author is not the operator, so no name of his imports a module.
    """

    def __init__(
        self, *, types: Mapping[str, Sequence[str]], named: Sequence[str] = (), timeout: float = TIMEOUT
    ) -> None:
        self._types = {pattern: list(names) for pattern, names in types.items()}
        self._named = tuple(named)
        self._timeout = timeout
        self._called: dict[str, Called] = {}
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="listener")

    def load(self) -> None:
        """Import them all. Raises ConfigError naming every one that cannot be."""
        known = {point.name: point for point in entry_points(group=GROUP)}
        problems = []
        wanted = [(f'listeners."{pattern}"', name) for pattern, names in self._types.items() for name in names]
        for place, name in [*wanted, *[("routes", name) for name in self._named]]:
            try:
                if name not in BUILT_IN:
                    self._called[name] = _made(_imported(name) if ":" in name else known[name].load())
            except KeyError:
                known_names = ", ".join([*BUILT_IN, *known])
                problems.append(f"{place}: there is no listener {name}; known are {known_names}")
            except Exception as error:  # whatever a module of the operator's does when it is imported
                problems.append(f"{place}: {name} cannot be loaded: {type(error).__name__}: {error}")
        if problems:
            raise ConfigError(*problems)
        for name, point in known.items():
            self._enlist(name, point)

    def _enlist(self, name: str, point: Any) -> None:
        """An installed package's listener that names its own types. One that is broken must not stop the daemon."""
        try:
            thing = point.load()
            patterns = tuple(getattr(thing, "types", ()))
            if patterns:
                self._called.setdefault(name, _made(thing))
        except Exception:
            log.exception("listener.unusable", name=name)
            return
        for pattern in patterns:
            names = self._types.setdefault(pattern, [])
            if name not in names:
                names.append(name)

    def of(self, tenant: str, event_type: str) -> list[str]:
        """Who hears of this type. The configuration file speaks for the default tenant."""
        if tenant != DEFAULT_TENANT or not self._types:
            return []
        found = [name for pattern, names in self._types.items() if wants((pattern,), event_type) for name in names]
        return list(dict.fromkeys(found))

    def knows(self, name: str) -> bool:
        """Whether it can be called."""
        return name in BUILT_IN or name in self._called

    async def call(self, name: str, event: Mapping[str, Any]) -> str:
        """Let one listener hear of an event; returns what it gave back, as text. Raises ListenerFailed."""
        called = self._called.get(name)
        if called is None:
            raise ListenerFailed(f"there is no listener {name}", final=True)
        try:
            async with asyncio.timeout(self._timeout):
                if _is_async(called):
                    given = await called(event)
                else:
                    given = await asyncio.get_running_loop().run_in_executor(self._threads, called, event)
        except TimeoutError:
            raise ListenerFailed(f"{name} took more than {self._timeout:g} s") from None
        except Exception as error:  # whatever the operator's code raises is a failed try
            raise ListenerFailed(f"{name}: {type(error).__name__}: {error}") from error
        return "" if given is None else str(given)[:300]

    def close(self) -> None:
        """End the threads; a listener that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _is_async(called: Called) -> bool:
    return inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(type(called).__call__)


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _made(thing: Any) -> Called:
    if inspect.isclass(thing):
        thing = thing()
    called: Any = getattr(thing, "handle", thing)
    if not callable(called):
        raise TypeError("it cannot be called")
    result: Called = called
    return result
