"""Commands that work with a daemon and without: a running one is asked, else the database is used directly.

Without a daemon the state directory's lock is held meanwhile, so that none can start. On a database that several
machines share, use this only where no daemon runs.
"""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Protocol

from zapd.cli.client import Client, read_key
from zapd.cli.options import Command, config_option, json_option, overrides, state_option, url_of, url_option
from zapd.cli.output import Output


class ByHand(Protocol):
    """The event hub, as a person works with it."""

    def process(self, limit: int) -> dict[str, Any]: ...
    def retry_failed(self, limit: int) -> dict[str, Any]: ...


class OverHttp:
    """By the running daemon."""

    def __init__(self, api: Client) -> None:
        self._api = api

    def process(self, limit: int) -> dict[str, Any]:
        """Take events through the rules; their actions are done by the daemon's queues."""
        return dict(self._api.call("POST", "/events/process", {"limit": limit}).data)

    def retry_failed(self, limit: int) -> dict[str, Any]:
        """Try failed events and dead actions again."""
        return dict(self._api.call("POST", "/events/retry-failed", {"limit": limit}).data)


class Directly:
    """On the database, with all that the events ask for."""

    def __init__(self, config: Any) -> None:
        self._config = config

    def process(self, limit: int) -> dict[str, Any]:
        """Take events through the rules, and do what they ask for."""

        async def use(offline: Any, _desk: Any) -> dict[str, int]:
            return dict(await offline.run(limit))

        return self._run(use)

    def retry_failed(self, limit: int) -> dict[str, Any]:
        """Try failed events and dead actions again, now."""

        async def use(offline: Any, desk: Any) -> dict[str, int]:
            from zapd.model.access import DEFAULT_TENANT  # noqa: PLC0415

            again = await desk.retry_failed(DEFAULT_TENANT, limit)
            return {**again, **await offline.run(again["events"])}

        return self._run(use)

    def _run(self, use: Callable[[Any, Any], Any]) -> dict[str, Any]:
        import asyncio  # noqa: PLC0415  # the whole daemon's modules: only who runs without one pays for them

        from zapd.app import App  # noqa: PLC0415
        from zapd.telemetry.logs import configure  # noqa: PLC0415

        async def run() -> dict[str, Any]:
            app = App(config=self._config, on_failed=lambda _name, _reason: None)
            return dict(await app.offline(use))

        logs = configure(level=self._config.log.level, format="text", environ=os.environ, descriptor=2)
        try:
            return asyncio.run(run())
        finally:
            logs.close()


def by_hand_command(command: Command) -> Command:
    """The command is called with `hub` and `out` before its own arguments."""

    @wraps(command)
    def called(config: Path | None, state_dir: Path | None, url: str | None, as_json: bool, **arguments: Any) -> None:
        from zapd.config import load  # noqa: PLC0415  # as in options.py
        from zapd.daemon import PRIVATE, lock_state  # noqa: PLC0415

        out = Output(as_json=as_json)
        key = os.environ.get("ZAPD_API_KEY")
        if url and key:
            command(OverHttp(Client(url=url, key=key)), out, **arguments)
            return
        found = load(config, environ=os.environ, overrides=overrides(state_dir))
        os.umask(PRIVATE)
        found.state.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = None if url else lock_state(found.state.dir)
        if lock is None:
            api = Client(url=url or url_of(*found.http.address), key=read_key(key, found.state.dir))
            command(OverHttp(api), out, **arguments)
            return
        try:
            command(Directly(found), out, **arguments)
        finally:
            os.close(lock)

    return config_option(state_option(url_option(json_option(called))))
