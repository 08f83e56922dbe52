"""The line of one account: the place it has in a worker, whether it is up, and who it is."""

from typing import Any

from zapd.whatsapp.transport import NotConnected, RetryAt
from zapd.whatsapp.web import errors
from zapd.whatsapp.web.frames import Frame
from zapd.whatsapp.web.outgoing import Me
from zapd.whatsapp.web.pool import Lease
from zapd.whatsapp.web.process import CallFailed, WorkerGone

ASK_WITHIN = 20.0  #: seconds


class Line:
    """Shared by what goes out, what a worker tells, and the account's life. `lease` is None between two workers."""

    def __init__(self, *, sid: str) -> None:
        self.sid = sid
        self.lease: Lease | None = None
        self.up = False
        self.me = Me()

    async def ask(self, operation: str, *, within: float, **fields: Any) -> Frame:
        """A call that is safe to repeat. Raises a SendError."""
        lease = self.lease
        if lease is None or lease.worker.pairing or not (self.up or operation in ("alive", "logout")):
            raise NotConnected("stopped")
        try:
            return await lease.worker.call(operation, self.sid, within=within, **fields)
        except CallFailed as failed:
            raise errors.of_call(str(failed)) from failed
        except WorkerGone as gone:
            raise NotConnected("worker_died") from gone
        except TimeoutError as late:
            raise RetryAt("no_answer", operation) from late
