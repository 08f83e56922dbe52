"""Templates: what the provider said of those that a connection sends."""

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.store.templates import Template
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer, at
from zapd.web.connections import existing
from zapd.web.pages import PageQuery, page, parsed_query


class TemplatesQuery(PageQuery):
    """Which templates, by name and language."""

    after: str | None = Field(
        default=None, pattern=r"^[^:]{1,512}:[^:]{1,32}$", description="the `next` of the page before"
    )


class TemplateAnswer(TypedDict):
    """A template in one language. `refused`: messages with it are refused now; `until`: a pause that ends by itself."""

    name: str
    language: str
    state: str
    reason: str | None
    since: Time
    until: Time | None
    refused: bool


async def index(request: web.Request) -> web.Response:
    """The templates of which the provider said something; of the others it said nothing yet."""
    query, connection = parsed_query(request, TemplatesQuery), await existing(request)
    name, _, language = (query.after or "").partition(":")
    templates = request.app[need.TEMPLATES]
    found = await templates.listed(connection, after=(name, language) if name else None, limit=query.limit + 1)

    def shown(template: Template) -> TemplateAnswer:
        return TemplateAnswer(
            name=template.name,
            language=template.language,
            state=template.state,
            reason=template.reason,
            since=iso(template.since),
            until=at(template.until),
            refused=templates.refused_now(template),
        )

    return answer(page(found, query.limit, shown, lambda template: f"{template.name}:{template.language}"))


async def forget(request: web.Request) -> web.Response:
    """Forget what was said of a template: it is tried again."""
    path = request.match_info
    await request.app[need.TEMPLATES].forget(await existing(request), path["name"], path["language"])
    return web.Response(status=204)
