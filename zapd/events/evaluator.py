"""Runs templates and JSON Schemas in a child process (`child.py` says why), which is started when it is first needed.

One child, one task at a time: the callers wait their turn. A child that does not answer in time is killed and the next
task gets a new one; one that nobody asked anything for a while is let go, so that an idle daemon has none.
"""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from zapd.errors import Unavailable
from zapd.events.expressions import BadExpression

IDLE = 60.0  #: seconds without a task after which the child goes
PATIENCE = 20.0  #: seconds for an answer; the child itself counts processor time, this is for one that hangs
MAX_ANSWER = 64 * 1024**2
_SMALL = ("PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "PYTHONPATH")  #: of the environment; the rest may hold secrets


class Evaluator:
    """Renders and validates. `close` it."""

    def __init__(self, *, cpu: float, output: int, environ: Mapping[str, str]) -> None:
        self._cpu = cpu
        self._output = output
        self._environ = {name: environ[name] for name in _SMALL if name in environ}
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def render(self, templates: Mapping[str, str], context: Any, *, check_only: bool = False) -> dict[str, str]:
        """Each template's text. Those without a `{` are their own text. Raises BadExpression naming the template.

        With `check_only` they are compiled and not run.
        """
        plain = {name: text for name, text in templates.items() if "{" not in text}
        rest = {name: text for name, text in templates.items() if name not in plain}
        if not rest:
            return plain
        limits = {"cpu": self._cpu, "output": self._output, "check_only": check_only}
        rendered: dict[str, str] = await self._ask({"do": "render", "templates": rest, "context": context, **limits})
        return plain | rendered

    async def validate(self, schema: Mapping[str, Any], value: Any, *, check_only: bool = False) -> list[str]:
        """What in a value does not fit the schema, as `path: rule`. Raises BadExpression when the schema is wrong."""
        text = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS).decode()
        task = {"do": "validate", "schema": text, "value": value, "check_only": check_only, "cpu": self._cpu}
        problems: list[str] = await self._ask(task)
        return problems

    async def close(self) -> None:
        """End the child."""
        async with self._turn:
            await self._end()

    async def _ask(self, task: Mapping[str, Any]) -> Any:
        frame = orjson.dumps(task)
        async with self._turn:
            try:
                answer = await self._exchange(frame)
            except (OSError, asyncio.IncompleteReadError) as error:
                await self._end()
                raise BadExpression("ended the process that it ran in: it needs too much memory or time") from error
            except TimeoutError:
                await self._end()
                raise BadExpression(f"gave no answer within {PATIENCE:g} s") from None
            except asyncio.CancelledError:
                await self._end()  # its answer would be taken for that of the next task
                raise
            self._idle = asyncio.get_running_loop().call_later(IDLE, self._let_go)
        if "error" in answer:
            raise BadExpression(answer["error"])
        return answer["ok"]

    async def _exchange(self, frame: bytes) -> Any:
        if self._idle is not None:
            self._idle.cancel()
        child = self._child
        if child is None or child.returncode is not None:
            child = self._child = await self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        async with asyncio.timeout(PATIENCE):
            child.stdin.write(len(frame).to_bytes(4, "big") + frame)
            await child.stdin.drain()
            size = int.from_bytes(await child.stdout.readexactly(4), "big")
            if size > MAX_ANSWER:
                raise OSError("the answer is too large")
            return orjson.loads(await child.stdout.readexactly(size))

    async def _start(self) -> asyncio.subprocess.Process:
        pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        command = (sys.executable, "-m", "zapd.events.child")
        try:
            return await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=none, env=self._environ, start_new_session=True
            )
        except OSError as error:
            raise Unavailable(f"no process for templates: {error.strerror}") from error

    def _let_go(self) -> None:
        if self._child is not None and self._child.stdin is not None and not self._turn.locked():
            self._child.stdin.close()  # it ends by itself; the next task starts another
            self._child = None

    async def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        if child.stdin is not None:
            child.stdin.close()
