"""`/openapi.json` and `/docs`: the routes as a document and as one plain page. No scripts, nothing from elsewhere."""

import asyncio
import base64
import hashlib
from functools import lru_cache
from html import escape

import orjson
from aiohttp import web

from zapd.web import dependencies as need
from zapd.web import openapi
from zapd.web.route import Route

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .8rem .3rem 0;vertical-align:top}
tr{border-top:1px solid #8884}code{font-size:.95em}:root{color-scheme:light dark}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def openapi_json(request: web.Request) -> web.Response:
    """This API as OpenAPI 3.1."""
    body = await asyncio.to_thread(rendered_openapi, request.app[need.ROUTES])
    return web.Response(body=body, content_type="application/json")


async def page(request: web.Request) -> web.Response:
    """This API for people."""
    return web.Response(text=rendered_page(request.app[need.ROUTES]), content_type="text/html", headers=_HEADERS)


@lru_cache(maxsize=1)  # takes 150 ms, so it is made when somebody asks, once, and not on the loop
def rendered_openapi(routes: tuple[Route, ...]) -> bytes:
    """What `/openapi.json` answers."""
    return orjson.dumps(openapi.document(routes))


@lru_cache(maxsize=1)
def rendered_page(routes: tuple[Route, ...]) -> str:
    """What `/docs` answers."""
    rows = "".join(_row(route) for route in routes)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>zapd API</title><style>{_STYLE}</style>'
        "<h1>zapd API</h1><p>Keys go into <code>Authorization: Bearer …</code> or <code>X-Api-Key</code>; errors are "
        '<code>application/problem+json</code>; every shape is in <a href="/openapi.json">openapi.json</a>.</p>'
        f"<table><tr><th>Route<th>What it does<th>Scope<th>Body{rows}</table></html>"
    )


def _row(route: Route) -> str:
    body = ", ".join(route.body.model_fields) if route.body else ""
    return (
        f"<tr><td><code>{escape(route.method)} {escape(route.path)}</code><td>{escape(route.summary)}"
        f"<td>{escape(route.scope or '')}<td><code>{escape(body)}</code>"
    )
