"""Another try for a message that the provider took, and of which it says later that it could not be delivered now.

Once a message, and only where the same words as the answer to the send would have been tried again: a limit that was
hit, a moment of the provider's. What comes of it is the message's next failure.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.messaging.accounts import Accounts
from zapd.model.message import Message, MessageStatus
from zapd.whatsapp.transport import Receipt, RetryAt

PAUSE = 10.0  #: seconds; the provider tried for some time already
_AT_REST: Sequence[MessageStatus] = (MessageStatus.SENT, MessageStatus.HELD)  #: no job of the message is under way


class Again:
    """Says whether there is another try, and makes its job."""

    def __init__(
        self, *, accounts: Accounts, job_of: Callable[[Message, int], Job], ids: Ids, now_ms: Callable[[], int]
    ) -> None:
        self._accounts = accounts
        self._job_of = job_of
        self._ids = ids
        self._now_ms = now_ms

    async def job(self, message: Message, receipt: Receipt) -> Job | None:
        """The job of the next try; None: there is none."""
        if message.status not in _AT_REST or message.failed_at is not None or receipt.code is None:
            return None
        connection = await self._accounts.find(message.tenant, message.connection_id)
        failure = self._accounts.failure(connection, receipt.code, receipt.detail or "") if connection else None
        if not isinstance(failure, RetryAt):
            return None
        now = self._now_ms()
        due = now + round(max(PAUSE, failure.wait or 0.0) * 1000)
        return self._job_of(replace(message, job_id=self._ids.new("job"), send_at=due), now)
