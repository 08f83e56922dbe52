"""Lanes of a queue."""

from aiohttp import web
from typing_extensions import TypedDict

from zapd.errors import FieldError, InvalidInput
from zapd.jobs.inspect import LaneView
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer, at
from zapd.web.pages import PageQuery, parsed_query
from zapd.web.pauses import paused_now
from zapd.web.queues import existing

MAX_LANE = 300  #: characters of a lane's name


class LaneAnswer(TypedDict):
    """A lane. `next_at`: from when its rate or park lets the next start. Limits are its own; null: the queue's."""

    name: str
    staged: int
    in_flight: int
    paused: bool
    next_at: Time | None
    rate: float | None
    burst: int | None
    cap: int | None


async def index(request: web.Request) -> web.Response:
    """Lanes that have jobs, run or are paused; lanes at rest are not kept."""
    query = parsed_query(request, PageQuery)
    found = await request.app[need.JOBS].lanes(existing(request), query.after, query.limit)
    return answer({"data": [_lane(lane) for lane in found.lanes], "next": found.next})


async def pause(request: web.Request) -> web.Response:
    """Start nothing of this lane until it is resumed; survives a restart."""
    await request.app[need.CONTROLS].pause(existing(request), lane=_lane_name(request))
    return paused_now(request)


async def resume(request: web.Request) -> web.Response:
    """Let this lane go on."""
    await request.app[need.CONTROLS].pause(existing(request), lane=_lane_name(request), paused=False)
    return paused_now(request)


def _lane(lane: LaneView) -> LaneAnswer:
    return {
        "name": lane.name,
        "staged": lane.staged,
        "in_flight": lane.in_flight,
        "paused": lane.paused,
        "next_at": at(lane.next_at),
        "rate": lane.rate_per_minute,
        "burst": lane.burst,
        "cap": lane.cap,
    }


def _lane_name(request: web.Request) -> str:
    name = request.match_info["lane"]
    if not 0 < len(name) <= MAX_LANE or not name.isprintable() or "|" in name:
        raise InvalidInput(FieldError("lane", f"1 to {MAX_LANE} printable characters without |"))
    return name
