"""Listeners: how they are found, called, and what a broken one comes to."""

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from zapd.errors import ConfigError
from zapd.events.listeners import ListenerFailed, Listeners

HERE = "tests.unit.events.test_listeners"
threads: list[str] = []


def plain(event: Mapping[str, Any]) -> str:
    threads.append(threading.current_thread().name)
    return "plain"


async def waiting(event: Mapping[str, Any]) -> None:
    await asyncio.sleep(0)


class WithHandle:
    async def handle(self, event: Mapping[str, Any]) -> int:
        return int(event["n"])


class Callable_:
    def __call__(self, event: Mapping[str, Any]) -> None:
        raise KeyError("gone")


def slow(event: Mapping[str, Any]) -> None:
    time.sleep(0.3)


def loaded(*names: str, timeout: float = 5.0) -> Listeners:
    listeners = Listeners(types={"a.*": [f"{HERE}:{name}" for name in names]}, timeout=timeout)
    listeners.load()
    return listeners


async def test_functions_coroutines_and_classes_are_called() -> None:
    listeners = loaded("plain", "waiting", "WithHandle")
    assert listeners.of("default", "a.b") == [f"{HERE}:plain", f"{HERE}:waiting", f"{HERE}:WithHandle"]
    assert listeners.of("default", "b.a") == []
    assert listeners.of("other tenant", "a.b") == []
    given = [await listeners.call(name, {"n": 3}) for name in listeners.of("default", "a.b")]
    assert given == ["plain", "", "3"]
    assert threads[-1].startswith("listener")  # a plain function never runs on the loop
    listeners.close()


async def test_a_listener_that_only_a_route_names_can_be_called_and_hears_of_nothing_else() -> None:
    listeners = Listeners(types={}, named=[f"{HERE}:WithHandle"])
    listeners.load()
    assert listeners.of("default", "a.b") == []
    assert listeners.knows(f"{HERE}:WithHandle")
    assert listeners.knows("email")
    assert not listeners.knows(f"{HERE}:plain")
    assert await listeners.call(f"{HERE}:WithHandle", {"n": 3}) == "3"
    listeners.close()


async def test_one_that_raises_or_hangs_is_a_failed_try() -> None:
    listeners, hasty = loaded("Callable_"), loaded("slow", timeout=0.05)
    with pytest.raises(ListenerFailed, match="KeyError"):
        await listeners.call(f"{HERE}:Callable_", {})
    with pytest.raises(ListenerFailed, match="more than"):
        await hasty.call(f"{HERE}:slow", {})
    hasty.close()
    with pytest.raises(ListenerFailed, match="no listener") as caught:
        await listeners.call("nobody", {})
    assert caught.value.final
    listeners.close()


def test_every_listener_that_cannot_be_loaded_is_named() -> None:
    listeners = Listeners(types={"x": ["nobody", "nope.nothing:It", f"{HERE}:HERE"], "y": ["email"]})
    with pytest.raises(ConfigError) as caught:
        listeners.load()
    assert len(caught.value.problems) == 3
    assert "known are email, whatsapp" in caught.value.problems[0]
    assert "ModuleNotFoundError" in caught.value.problems[1]
    listeners.close()
