"""POSTs a job to an endpoint, or to the URL of its queue: signed as Standard Webhooks, to vetted addresses only.

The body is the one of every webhook of ours, `{"id","type","timestamp","connection_id","data"}`, with the job in
`job`: its queue, attempt and, in a chain, what the step before gave. `webhook-id` is the job's id over all tries, among
all tenants: one receiver may get jobs of several.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import orjson

from zapd.actions.envelope import Opened
from zapd.actions.listener import Result
from zapd.backoff import Backoff
from zapd.jobs.job import Discard, Job, Outcome, Retry, Snooze
from zapd.model.access import within_tenant
from zapd.model.webhook import Endpoint
from zapd.webhooks.client import Answer
from zapd.webhooks.request import live_secrets
from zapd.webhooks.retry_after import seconds_of
from zapd.webhooks.signature import sign

_GONE = 410
_LATER = frozenset({429, 503})
_YOUNG = 72 * 3_600_000  # milliseconds in which "later" burns no attempt
_RESULT = 16 * 1024  # the client keeps as much of an answer; a longer one is no whole JSON
#: How long a job waits that is told "later" for the n-th second of its life: never less than the receiver says.
_PARK = Backoff(base=1.0, factor=1.0)


class Post(Protocol):
    """`Client.post`."""

    async def __call__(self, url: str, *, headers: Sequence[tuple[str, str]], body: bytes) -> Answer: ...


class WebhookAction:
    """`endpoint(tenant)` is where the queue's jobs go; None: it is off or gone."""

    def __init__(
        self,
        *,
        endpoint: Callable[[str], Awaitable[Endpoint | None]],
        post: Post,
        now_ms: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        self._endpoint = endpoint
        self._post = post
        self._now_ms = now_ms
        self._random = random

    async def run(self, job: Job, opened: Opened) -> Outcome | Result:
        """One try."""
        endpoint = await self._endpoint(job.tenant)
        if endpoint is None:
            return Retry("the endpoint is off or gone", kind="endpoint")
        body = body_of(job, opened)
        answer = await self._post(endpoint.url, headers=self._headers(endpoint, job, body), body=body)
        return self._outcome(job, answer)

    def _headers(self, endpoint: Endpoint, job: Job, body: bytes) -> list[tuple[str, str]]:
        now = self._now_ms()
        secrets = live_secrets(endpoint, now)
        signature = sign(secrets=secrets, message_id=job.id, timestamp=now // 1000, body=body)
        return [
            ("webhook-id", job.id),
            ("webhook-timestamp", str(now // 1000)),
            ("webhook-signature", signature),
            ("X-ZapHub-Event", _header(job.kind or job.queue)),
            *endpoint.headers,
        ]

    def _outcome(self, job: Job, answer: Answer) -> Outcome | Result:
        failure = answer.failure
        if failure is None:
            return Result(_json(answer.body))
        if answer.status == _GONE:
            return Discard("gone", failure.error)
        now = self._now_ms()
        hint = seconds_of(answer.retry_after, now_ms=now)
        if answer.status in _LATER and hint is not None and now - job.created_at < _YOUNG:
            return Snooze(max(hint, _PARK.delay(1, random=self._random)), park_lane=True)
        return Retry(failure.error, after=hint, kind=failure.kind)


def body_of(job: Job, opened: Opened) -> bytes:
    """What is POSTed. The payload's bytes go out as they came."""
    at = datetime.fromtimestamp(job.created_at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    about: dict[str, object] = {"queue": job.queue, "attempt": job.attempt}
    if opened.previous is not None:
        about["previous"] = orjson.Fragment(opened.previous)
    return orjson.dumps(
        {
            "id": within_tenant(job.tenant, job.id),
            "type": job.kind or job.queue,
            "timestamp": at,
            "connection_id": None,
            "data": orjson.Fragment(opened.payload),
            "job": about,
        }
    )


def _json(body: bytes) -> bytes | None:
    if not body or len(body) >= _RESULT:
        return None
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return body


def _header(text: str) -> str:
    return text.encode("ascii", "replace").decode()
