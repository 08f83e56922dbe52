"""The rules for what an endpoint may ask for beside its types. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from zapd.errors import FieldError
from zapd.expressions import BadExpression, compiled
from zapd.model.webhook import Options

MAX_CHANNELS = 50
MAX_BATCH = 500
MAX_BATCH_WAIT = 300.0  #: seconds
MAX_RATE = 600_000  #: a minute
MAX_CONCURRENCY = 100

_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def problems(options: Options) -> list[FieldError]:
    """Every field that breaks a rule."""
    return [
        *_expressions(options),
        *_channels(options.channels),
        *_numbers(options),
        *_together(options),
    ]


def _expressions(options: Options) -> Iterator[FieldError]:
    for name in ("filter", "transform", "order_by"):
        text = getattr(options, name)
        if text is not None:
            try:
                compiled(text)
            except BadExpression as error:
                yield FieldError(name, f"must be JMESPath: {error}")


def _channels(channels: tuple[str, ...]) -> Iterator[FieldError]:
    if len(channels) > MAX_CHANNELS:
        yield FieldError("channels", f"must have at most {MAX_CHANNELS} entries")
    for i, channel in enumerate(channels):
        if not _CHANNEL.fullmatch(channel):
            yield FieldError(f"channels.{i}", "must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")


def _numbers(options: Options) -> Iterator[FieldError]:
    bounds: tuple[tuple[str, Any, float, float], ...] = (
        ("rate_per_minute", options.rate_per_minute, 1, MAX_RATE),
        ("concurrency", options.concurrency, 1, MAX_CONCURRENCY),
        ("batch_size", options.batch_size, 1, MAX_BATCH),
        ("batch_wait", options.batch_wait, 0, MAX_BATCH_WAIT),
    )
    for name, value, least, most in bounds:
        if value is not None and not least <= value <= most:
            yield FieldError(name, f"must be {least:g} to {most:g}")


def _together(options: Options) -> Iterator[FieldError]:
    if options.batched and options.order_by is not None:
        yield FieldError("order_by", "cannot be combined with batch_size: events of one batch come in order already")
