"""Files of messages: upload, read by signed link, a new link."""

from collections.abc import AsyncIterator
from typing import Annotated

from aiohttp import BodyPartReader, hdrs, web
from pydantic import Field
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.errors import FieldError, InvalidInput, NotFound
from zapd.model.media import Media, MediaState
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer
from zapd.web.auth import key_of, visible
from zapd.web.pages import Query, parsed_query

CHUNK = 64 * 1024  #: bytes of an upload that are read at once

#: Shown by a browser; everything else is only ever saved, so that no page of a stranger runs on our address.
_SHOWN = ("image/jpeg", "image/png", "image/webp", "image/gif", "audio/", "video/")


class UploadQuery(Query):
    """What the file is called, when the form does not say it."""

    filename: Annotated[str, Field(min_length=1, max_length=240, pattern=r"^[^/\\\x00-\x1f\x7f]+$")] | None = None


class LinkQuery(Query):
    """What zapd signed; `t` is the tenant, if it is not the default one."""

    exp: str | None = None
    sig: str | None = None
    t: str | None = None


class UploadedAnswer(TypedDict):
    """A file that is kept. `mime` is what its bytes say."""

    id: str
    sha256: str
    mime: str
    size: int
    filename: str | None


class LinkAnswer(TypedDict):
    """A file, and a link that opens it for whoever has the link. `url` is null while it is not here."""

    id: str
    state: str
    mime: str
    size: int
    sha256: str | None
    filename: str | None
    error: str | None
    url: str | None
    expires_at: Time | None


async def upload(request: web.Request) -> web.Response:
    """Take a file in: as the part `file` of a form, or as the whole body. Its id goes into payloads as `media_id`."""
    if request.content_type == "multipart/form-data":
        part = await _part(request)
        chunks, mime, name = _chunks(part), part.headers.get(hdrs.CONTENT_TYPE), part.filename
    else:
        chunks, mime, name = request.content.iter_chunked(CHUNK), request.headers.get(hdrs.CONTENT_TYPE), None
    filename = parsed_query(request, UploadQuery).filename or _plain(name)
    item = await request.app[need.LIBRARY].upload(key_of(request).tenant, chunks, mime=mime, filename=filename)
    return answer(
        UploadedAnswer(id=item.id, sha256=item.sha256 or "", mime=item.mime, size=item.size, filename=item.filename),
        201,
    )


async def content(request: web.Request) -> web.StreamResponse:
    """The file that a signed link names. Ranges are served."""
    media_id = request.match_info["id"]
    tenant = request.app[need.MEDIA_LINKS].check(media_id, request.query)
    item = await request.app[need.MEDIA_ROWS].get(tenant, media_id)
    if item is None:
        raise NotFound(f"file {media_id} is not there")
    return served(request, item)


def served(request: web.Request, item: Media) -> web.FileResponse:
    """The bytes of a file. Raises NotFound while they are not here."""
    if item.state is not MediaState.READY or item.sha256 is None:
        raise NotFound(f"file {item.id} is {item.state}")
    path = request.app[need.MEDIA_PATH](item.sha256)
    if not path.is_file():
        raise NotFound(f"the content of file {item.id} is not here")
    return web.FileResponse(path, headers=_headers(item))


async def link(request: web.Request) -> web.Response:
    """What is known of a file, and a new link to it."""
    item = await _visible(request)
    made = request.app[need.MEDIA_LINKS].make(item.tenant, item.id) if item.state is MediaState.READY else None
    return answer(
        LinkAnswer(
            id=item.id,
            state=item.state,
            mime=item.mime,
            size=item.size,
            sha256=item.sha256,
            filename=item.filename,
            error=item.error,
            url=made.url if made else None,
            expires_at=iso(made.expires_at) if made else None,
        )
    )


async def delete(request: web.Request) -> web.Response:
    """Delete a file that no waiting message needs."""
    await request.app[need.LIBRARY].delete(await _visible(request))
    return web.Response(status=204)


async def _visible(request: web.Request) -> Media:
    media_id = request.match_info["id"]
    item = await request.app[need.MEDIA_ROWS].get(key_of(request).tenant, media_id)
    if item is None or not visible(request, item.connection_id):
        raise NotFound(f"there is no file {media_id}")
    return item


async def _part(request: web.Request) -> BodyPartReader:
    try:
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name == "file":
                return part
    except ValueError as error:  # no boundary, or a broken part
        raise InvalidInput(FieldError("body", f"is not a form: {error}")) from None
    raise InvalidInput(FieldError("file", "the form needs a part of this name"))


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(CHUNK):
        yield chunk


def _plain(name: str | None) -> str | None:
    """A form's own name for its file: senders put whole paths there."""
    return "".join(c for c in (name or "").replace("\\", "/").rpartition("/")[2] if c.isprintable())[:240] or None


def _headers(item: Media) -> dict[str, str]:
    disposition = "inline" if item.mime.startswith(_SHOWN) else "attachment"
    if item.filename:
        quoted = "".join(c if c.isascii() and (c.isalnum() or c in "-_. ") else "_" for c in item.filename)
        disposition += f'; filename="{quoted}"'
    return {
        hdrs.CONTENT_TYPE: item.mime,
        hdrs.CONTENT_DISPOSITION: disposition,
        hdrs.CACHE_CONTROL: "private, max-age=3600, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
