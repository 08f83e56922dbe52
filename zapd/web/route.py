"""One route as data: what the router, the gate, the OpenAPI document and `/docs` need to know of it."""

from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from zapd.model.access import Scope

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """A path parameter named `connection` is always a connection's id: keys bound to another one are refused."""

    method: str
    path: str
    handler: Handler
    scope: Scope | None  #: what the key must carry; None: no key is asked for
    _: KW_ONLY
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    takes: str = "application/json"  #: the media type of the body
    raw: str = ""  #: the media type of a body that is kept as it came
    answer: Any = None  #: a TypedDict; None: see `media`
    status: int = 200
    also: tuple[int, ...] = ()  #: other statuses with the same answer
    media: str = "application/json"  #: of the answer
    also_as: tuple[str, ...] = ()  #: other media types of it, as `Accept` asks
    defines: type[BaseModel] | None = None  #: a definition whose fields the body changes and the answer shows
    headers: tuple[str, ...] = ()  #: request headers that this route looks at
    conflicts: bool = False  #: a GET that may answer 409; what changes something always may
    accepts: str = ""  #: the kind of work that is kept when it answers 2xx: its time is measured apart
    operator: bool = False  #: for the default tenant only: it touches or shows what belongs to all tenants
    any_query: bool = False  #: others decide how they call it: providers, probes, browsers
    bound: bool = False  #: a key bound to one connection may use it: the handler looks at whose thing it is

    @property
    def summary(self) -> str:
        """What it does: the first line of the handler's docstring."""
        return (self.handler.__doc__ or "").partition("\n")[0].rstrip(".")

    @property
    def resource(self) -> str:
        """The file it stands in."""
        return self.handler.__module__.rpartition(".")[2]


async def _nowhere(_: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


#: Stands for requests that no route takes, so that they are paced and counted too.
UNKNOWN = Route("", "", _nowhere, None, any_query=True)
