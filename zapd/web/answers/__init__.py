"""What clients get: each stored value as the JSON of the API. The TypedDicts are the schemas of `/openapi.json`.

Stored payloads go out as the bytes they were stored as, through `orjson.Fragment`.
"""

from zapd.web.answers.jobs import JobAnswer, LogLine, dead_job, job, view_of
from zapd.web.answers.keys import KeyAnswer, key
from zapd.web.answers.messages import MessageAnswer, message
from zapd.web.answers.page import Json, Page, T, Time, answer, at
from zapd.web.answers.webhooks import (
    AttemptAnswer,
    DeliveryAnswer,
    EndpointAnswer,
    EventAnswer,
    attempt,
    delivery,
    endpoint,
    event,
)

__all__ = [
    "AttemptAnswer",
    "DeliveryAnswer",
    "EndpointAnswer",
    "EventAnswer",
    "JobAnswer",
    "Json",
    "KeyAnswer",
    "LogLine",
    "MessageAnswer",
    "Page",
    "T",
    "Time",
    "answer",
    "at",
    "attempt",
    "dead_job",
    "delivery",
    "endpoint",
    "event",
    "job",
    "key",
    "message",
    "view_of",
]
