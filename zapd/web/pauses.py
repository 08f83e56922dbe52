"""What is paused: queues, kinds of jobs, lanes."""

from aiohttp import web
from typing_extensions import TypedDict

from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import answer
from zapd.web.queues import existing


class PausedAnswer(TypedDict):
    """What is paused now: queues, and by queue kinds of jobs and lanes."""

    paused: list[str]
    kinds: dict[str, list[str]]
    lanes: dict[str, list[str]]


async def pause(request: web.Request) -> web.Response:
    """Claim nothing from this queue, or none of one kind, until it is resumed; survives a restart."""
    return await _switch(request, paused=True)


async def resume(request: web.Request) -> web.Response:
    """Claim from this queue, or this kind, again."""
    return await _switch(request, paused=False)


async def pause_all(request: web.Request) -> web.Response:
    """Claim nothing from any queue until they are resumed."""
    await request.app[need.CONTROLS].pause_all()
    return paused_now(request)


async def resume_all(request: web.Request) -> web.Response:
    """Claim from every queue again."""
    await request.app[need.CONTROLS].pause_all(paused=False)
    return paused_now(request)


async def _switch(request: web.Request, *, paused: bool) -> web.Response:
    body = await bodies.parsed(request, bodies.PauseQueue)
    await request.app[need.CONTROLS].pause(existing(request), kind=body.kind, paused=paused)
    return paused_now(request)


def paused_now(request: web.Request) -> web.Response:
    """All that is paused at the moment."""
    found = request.app[need.CONTROLS].pauses()
    return answer(
        PausedAnswer(
            paused=sorted(name for name, pauses in found.items() if pauses.paused),
            kinds={name: sorted(pauses.kinds) for name, pauses in found.items() if pauses.kinds},
            lanes={name: sorted(pauses.lanes) for name, pauses in found.items() if pauses.lanes},
        )
    )
