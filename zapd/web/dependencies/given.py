"""How a handler's need is given."""

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

T = TypeVar("T")
Given = Callable[[web.Application], None]


def given(key: web.AppKey[T], value: T) -> Given:
    """What handlers find under this key."""

    def give(app: web.Application) -> None:
        app[key] = value

    return give
