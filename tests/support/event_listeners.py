"""Listeners that tests name in their configuration."""

from collections.abc import Mapping
from typing import Any

heard: list[Mapping[str, Any]] = []


def remember(event: Mapping[str, Any]) -> str:
    """A plain function: it runs in a thread."""
    heard.append(event)
    return f"heard {event['type']}"


async def remember_async(event: Mapping[str, Any]) -> None:
    heard.append(event)


class Failing:
    """Fails always."""

    def handle(self, event: Mapping[str, Any]) -> None:
        raise ValueError("not today")
