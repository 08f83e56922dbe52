"""Who may see a page and do what its forms do: the login, its key's scope, and that the form is our own.

Cross-site requests are told apart as Go 1.25 does it: `Sec-Fetch-Site` when the browser sends it (it does so only over
HTTPS and on localhost), else `Origin` must name this host; and each form carries the login's token besides.
"""

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlsplit

import structlog
from aiohttp import web

from zapd.errors import Conflict, Forbidden, InvalidInput, NotFound, TooManyRequests, Unavailable, ZapdError
from zapd.model.access import Scope
from zapd.web import dependencies as need
from zapd.web.auth import admit_as, key_of
from zapd.web.dashboard import render
from zapd.web.dashboard.logins import form_token

COOKIE = "zapd-login"
LOGIN = "/dashboard/login"

log = structlog.get_logger("zapd.web")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_STATUS: tuple[tuple[type[ZapdError], int], ...] = (
    (InvalidInput, 422),
    (NotFound, 404),
    (Conflict, 409),
    (Forbidden, 403),
    (TooManyRequests, 429),
    (Unavailable, 503),
)
_SAID = {
    403: "This key may not do that.",
    404: "There is no such page.",
    503: "A part is away at the moment. Nothing is lost; try again.",
}


def page(scope: Scope, handler: Handler, *, operator: bool = False) -> Handler:
    """The handler, for those whose login's key carries the scope."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            if not await let_in(request, scope, operator=operator):
                return _to_login(request)
            if request.method == "POST":
                await check_form(request)
            return await handler(request)
        except ZapdError as error:
            return _error_page(request, error)
        except web.HTTPException:
            raise
        except Exception:  # the page's boundary, as `middleware.gate` is the API's
            log.exception("dashboard.crashed", path=request.path)
            return render.page(request, "error.html", {"said": "Something is wrong", "status": 500}, 500)

    guarded.__doc__ = handler.__doc__
    return guarded


async def let_in(request: web.Request, scope: Scope, *, operator: bool = False) -> bool:
    """Note the key behind the login. False: there is none. Raises Forbidden, NotFound (bound to another connection)."""
    cookie = request.cookies.get(COOKIE)
    key = await request.app[need.LOGINS].find(cookie) if cookie else None
    if key is None:
        return False
    admit_as(request, key, scope, operator=operator)
    return True


def own_origin(request: web.Request) -> bool:
    """Whether the request comes from a page of ours."""
    fetched_from = request.headers.get("Sec-Fetch-Site")
    if fetched_from is not None:
        return fetched_from in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


async def check_form(request: web.Request) -> None:
    """Raises Forbidden when the form is not one that this login was given."""
    given = (await request.post()).get("form_token", "")
    expected = form_token(request.cookies[COOKIE])
    if not own_origin(request) or not isinstance(given, str) or not hmac.compare_digest(given, expected):
        raise Forbidden("This form is out of date. Open the page again.")


def rights(request: web.Request) -> dict[str, object]:
    """What the reader's key may do, by scope."""
    key = key_of(request)
    may = {scope.value: key.allows(scope) for scope in Scope}
    shown = {"queues": key.connection_id is None}  # as the API: they tell of other connections
    return {"may": {**may, **shown, "operate": key.operates and key.allows(Scope.ADMIN)}}


def shared(request: web.Request) -> dict[str, object]:
    """What every page of a logged-in reader has."""
    return {**rights(request), "form_token": form_token(request.cookies[COOKIE]), "key_label": key_of(request).label}


def _to_login(request: web.Request) -> web.Response:
    target = LOGIN if request.method == "POST" else f"{LOGIN}?next={quote(request.path_qs)}"
    return web.Response(status=303, headers={"Location": target, **render.HEADERS})


def _error_page(request: web.Request, error: ZapdError) -> web.Response:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    said = str(error) if status in (409, 422, 429) or "form" in str(error) else _SAID.get(status, "Something is wrong")
    return render.page(request, "error.html", {"said": said, "status": status}, status)
