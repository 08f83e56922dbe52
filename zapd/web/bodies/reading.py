"""From a request to its body, within its limits of size and time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import (
    BaseModel,
    ValidationError,
)

from zapd.errors import FieldError, InvalidInput
from zapd.web import problems

B = TypeVar("B", bound=BaseModel)
#: Seconds that a body may take to arrive.
BODY_TIMEOUT = web.AppKey("body_timeout", float)
MAX_IDEMPOTENCY_KEY = 255  #: characters
JOIN_ASIDE = 1024 * 1024  #: bytes


async def parsed(request: web.Request, model: type[B]) -> B:
    """The body as `model`, straight from its bytes. An empty body counts as `{}`. Raises InvalidInput."""
    content = await whole(request) or b"{}"
    try:
        body = model.model_validate_json(content)
    except ValidationError as error:
        raise problems.of_validation(error) from None
    _check_strictly(content)
    return body


def _check_strictly(content: bytes) -> None:
    """Pydantic takes NaN and 1e999 for numbers; kept and sent on they would be null."""
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise problems.MalformedBody(message=f"Invalid JSON: {error.msg}") from None


async def raw(request: web.Request, limit: int) -> bytes:
    """The body as it came, for a route whose limit is not the general one."""
    pieces, size = list[bytes](), 0
    async with _in_time(request):
        async for piece in request.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=size)
    # A large body takes milliseconds to put together, all of them new pages of memory.
    return b"".join(pieces) if size < JOIN_ASIDE else await asyncio.to_thread(b"".join, pieces)


def idempotency_key(request: web.Request) -> str | None:
    """The caller's Idempotency-Key, if there is one. Raises InvalidInput."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY:
        raise InvalidInput(FieldError("Idempotency-Key", f"1 to {MAX_IDEMPOTENCY_KEY} characters"))
    return key


async def whole(request: web.Request) -> bytes:
    """The body within the general limit. Raises aiohttp's own answers: 408 when it is slow, 413, 415."""
    if request.content.is_eof() and "Content-Encoding" not in request.headers:  # it is here: no clock is needed
        return await request.read()
    async with _in_time(request):
        return await request.read()


@asynccontextmanager
async def _in_time(request: web.Request) -> AsyncIterator[None]:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text="a body must not be compressed")
    try:
        async with asyncio.timeout(request.app[BODY_TIMEOUT]):
            yield
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def as_json(payload: Any, field: str = "payload") -> bytes:
    """The stored bytes of a payload. Raises InvalidInput for numbers beyond 64 bits and broken Unicode."""
    try:
        return orjson.dumps(payload)
    except orjson.JSONEncodeError as error:
        raise InvalidInput(FieldError(field, str(error))) from None


def ms(at: datetime | None) -> int | None:
    """A point in time as milliseconds since 1970 UTC."""
    return None if at is None else round(at.timestamp() * 1000)
