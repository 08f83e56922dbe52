"""Many messages in one request: each is checked by itself, and all that are good are accepted in one commit."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from zapd.errors import FieldError, InvalidInput
from zapd.messaging.accounts import Commit
from zapd.messaging.metrics import MessageMetrics
from zapd.messaging.submit import Prepared, Submit
from zapd.model.message import Message
from zapd.store.idempotency import IdempotencyStore
from zapd.store.messages import MessageStore

AT_ONCE = 16  #: items that are checked side by side: one may fetch a file

Item = Submit | InvalidInput
Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BulkRequest:
    """What a client sent. `fingerprint` is of the request's body; given with `idempotency_key`."""

    tenant: str
    connection_id: str
    items: Sequence[Item]
    idempotency_key: str | None = None
    fingerprint: bytes | None = None


class Bulk:
    """`prepare` checks one message and makes what is committed for it."""

    def __init__(
        self,
        *,
        prepare: Callable[[Submit], Awaitable[Prepared]],
        messages: MessageStore,
        idempotency: IdempotencyStore,
        commit: Commit,
        now_ms: Callable[[], int],
        metrics: MessageMetrics,
    ) -> None:
        self._prepare = prepare
        self._messages = messages
        self._idempotency = idempotency
        self._commit = commit
        self._now_ms = now_ms
        self._metrics = metrics

    async def submit(self, request: BulkRequest) -> tuple[list[Result], bool]:
        """One result for each item, in their order; and whether the same request came before.

        Raises NotFound (connection), Conflict (the idempotency key came with another body).
        """
        first = await self._first_answer(request)
        if first is not None:
            return first, True
        prepared = await self._prepared(request)
        results = [_result(item) for item in prepared]
        good = [item for item in prepared if isinstance(item, Prepared)]
        if not good:
            return results, False
        changes = [self._messages.added_new(item.message) for item in good]
        more = [change for item in good for change in item.changes]
        jobs = [item.job for item in good]
        if request.idempotency_key is None:
            await self._commit(changes[0], *changes[1:], *more, jobs=jobs)
        else:
            claim = self._idempotency.claimed(
                request.tenant,
                _scope(request),
                request.idempotency_key,
                request.fingerprint or b"",
                orjson.dumps(results),
                self._now_ms(),
            )
            if await self._commit(claim, *changes, *more, jobs=jobs) is None:  # the same request, at the same moment
                return await self._first_answer(request) or results, True
        for item in good:
            self._metrics.submitted(item.message)
        return results, False

    async def _prepared(self, request: BulkRequest) -> list[Prepared | InvalidInput]:
        turns, ids = asyncio.Semaphore(AT_ONCE), set[str]()

        async def one(item: Item) -> Prepared | InvalidInput:
            if isinstance(item, InvalidInput):
                return item
            async with turns:
                try:
                    return await self._one(item, ids)
                except InvalidInput as error:
                    return error

        return list(await asyncio.gather(*[one(item) for item in request.items]))

    async def _one(self, item: Submit, ids: set[str]) -> Prepared | InvalidInput:
        if item.message_id is not None:
            taken = item.message_id in ids
            ids.add(item.message_id)
            known: Message | None = await self._messages.get(item.tenant, item.message_id)
            if taken or known is not None:
                return InvalidInput(FieldError("message_id", f"message {item.message_id} exists already"))
        return await self._prepare(item)

    async def _first_answer(self, request: BulkRequest) -> list[Result] | None:
        key = request.idempotency_key
        first = await self._idempotency.answer(request.tenant, _scope(request), key, request.fingerprint)
        return None if first is None else list[Result](orjson.loads(first))


def _scope(request: BulkRequest) -> str:
    return f"bulk:{request.connection_id}"


def _result(item: Prepared | InvalidInput) -> Result:
    if isinstance(item, InvalidInput):
        fields = item.fields or (FieldError("message", str(item)),)
        errors = [{"field": field.field, "rule": field.rule} for field in fields]
        return {"id": None, "status": "refused", "job_id": None, "errors": errors}
    return {"id": item.message.id, "status": "queued", "job_id": item.job.id, "errors": []}
