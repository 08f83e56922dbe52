"""The pages: log in and out, overview, connections, conversations, queues, the language, files."""

import re
from functools import cache
from importlib import resources

from aiohttp import web

from zapd.errors import Conflict, NotFound, Unauthorized
from zapd.model.access import Scope
from zapd.web import connections, media
from zapd.web import dependencies as need
from zapd.web.auth import key_of
from zapd.web.dashboard import guard, live, render, views, words
from zapd.web.dashboard.views import View
from zapd.web.problems import PaceExceeded
from zapd.whatsapp import qr

_OWN_PAGE = re.compile(r"/dashboard(/[\w/:.@%~-]*)?(\?[\w=&%.-]*)?", re.ASCII)
STATIC = {"zapd.js": "text/javascript", "zapd.css": "text/css", "icon.svg": "image/svg+xml"}


async def show_login(request: web.Request) -> web.Response:
    """Where a key is pasted."""
    return render.page(request, "login.html", {"problem": None, "next": _next(request.query.get("next"))})


async def log_in(request: web.Request) -> web.StreamResponse:
    """Take the key, hand out the cookie."""
    form = await request.post()
    target = _next(str(form.get("next", "")))
    try:
        if not guard.own_origin(request):
            raise Unauthorized
        key = await request.app[need.ACCESS].key_behind(request, str(form.get("key", "")).strip())
    except Unauthorized:
        return render.page(request, "login.html", {"problem": "This key opens nothing.", "next": target}, 401)
    except PaceExceeded:
        problem = "Too many wrong keys. Try again in a minute."
        return render.page(request, "login.html", {"problem": problem, "next": target}, 429)
    if not key.allows(Scope.READ):
        problem = "This key may not read, which every page here needs."
        return render.page(request, "login.html", {"problem": problem, "next": target}, 403)
    await request.app[need.AUDIT].logged_in(key, request.app[need.ACCESS].address_of(request))
    answer = web.Response(status=303, headers={"Location": target, **render.HEADERS})
    answer.set_cookie(
        guard.COOKIE,
        await request.app[need.LOGINS].open(key),
        path="/dashboard",
        httponly=True,
        samesite="Strict",
        secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
        max_age=7 * 86_400,
    )
    return answer


async def log_out(request: web.Request) -> web.StreamResponse:
    """End the login."""
    await request.app[need.LOGINS].end(key_of(request).tenant, request.cookies[guard.COOKIE])
    answer = web.Response(status=303, headers={"Location": guard.LOGIN, **render.HEADERS})
    answer.del_cookie(guard.COOKIE, path="/dashboard")
    return answer


async def language(request: web.Request) -> web.StreamResponse:
    """Remember the reader's language."""
    chosen = request.match_info["language"]
    if chosen not in words.LANGUAGES:
        raise NotFound(f"there is no language {chosen}")
    answer = web.Response(status=303, headers={"Location": _next(request.query.get("next"))})
    answer.set_cookie(render.LANGUAGE_COOKIE, chosen, path="/dashboard", samesite="Lax", max_age=365 * 86_400)
    return answer


async def static(request: web.Request) -> web.Response:
    """The style sheet, the script, the icon."""
    name = request.match_info["name"]
    if name not in STATIC:
        raise web.HTTPNotFound
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=_file(name), content_type=STATIC[name], charset="utf-8", headers=headers)


async def overview(request: web.Request) -> web.StreamResponse:
    """Sessions and queues at a glance."""
    return await _shown(request, views.OVERVIEW)


async def all_connections(request: web.Request) -> web.StreamResponse:
    """The connections."""
    return await _shown(request, views.CONNECTIONS)


async def new_connection(request: web.Request) -> web.Response:
    """The form for a new connection; which fields it has depends on the transport."""
    return render.page(request, "new_connection.html", {**guard.shared(request), **new_form(request)})


def new_form(request: web.Request, **more: object) -> dict[str, object]:
    """What the form of `new_connection` shows."""
    return {"transport": request.query.get("transport"), "problem": None, "given": {}, **more}


async def one_connection(request: web.Request) -> web.StreamResponse:
    """One connection."""
    return await _shown(request, views.CONNECTION)


async def code(request: web.Request) -> web.Response:
    """The code to scan, as a picture."""
    connection = await connections.existing(request)
    if connection.qr is None:
        raise Conflict("there is no code to scan")
    return web.Response(body=await qr.svg(connection.qr), content_type="image/svg+xml", headers=render.HEADERS)


async def conversation(request: web.Request) -> web.StreamResponse:
    """One conversation."""
    return await _shown(request, views.CONVERSATION)


async def file(request: web.Request) -> web.StreamResponse:
    """The file that a message carries."""
    connection, message_id = await connections.existing(request), request.match_info["message"]
    message = await request.app[need.MESSAGES].get(connection.tenant, message_id)
    item = await views.file_of(request, message) if message and message.connection_id == connection.id else None
    if item is None:
        raise NotFound(f"there is no file of message {message_id}")
    return media.served(request, item)


async def all_queues(request: web.Request) -> web.StreamResponse:
    """The queues."""
    return await _shown(request, views.QUEUES)


async def _shown(request: web.Request, view: View) -> web.StreamResponse:
    """The page, or its stream of patches: the browser's EventSource asks at the same address."""
    if "text/event-stream" in request.headers.get("Accept", ""):
        return await live.stream(request, view)
    return render.page(request, view.template, {**_frame(request), **await view.data(request)})


def _frame(request: web.Request) -> dict[str, object]:
    # The form's own id: sent twice, it is the same message.
    return {**guard.shared(request), "form_id": request.app[need.IDS].ulid()}


def _next(given: str | None) -> str:
    """Where to go after the login: a page of ours, whatever the form says."""
    return given if given is not None and _OWN_PAGE.fullmatch(given) and ".." not in given else "/dashboard"


@cache
def _file(name: str) -> bytes:
    return (resources.files("zapd.web.dashboard") / "static" / name).read_bytes()
