"""Messages and their files, and what providers sent."""

from zapd.model.access import Scope
from zapd.web import (
    answers,
    bodies,
    inbox,
    media,
    messages,
)
from zapd.web.answers import Page
from zapd.web.route import Route

READ, SEND, CONTROL = Scope.READ, Scope.SEND, Scope.CONTROL


MESSAGES: tuple[Route, ...] = (
    Route(
        "POST",
        "/connections/{connection}/send",
        messages.send,
        SEND,
        query=messages.SendQuery,
        body=bodies.SendMessage,
        headers=("Idempotency-Key",),
        answer=messages.SubmittedAnswer,
        status=202,
        accepts="send",
    ),
    Route(
        "POST",
        "/connections/{connection}/send/bulk",
        messages.bulk,
        SEND,
        body=bodies.SendBulk,
        headers=("Idempotency-Key",),
        answer=messages.BulkAnswer,
        status=202,
    ),
    Route(
        "GET",
        "/connections/{connection}/messages",
        messages.history,
        READ,
        query=messages.HistoryQuery,
        answer=Page[answers.MessageAnswer],
    ),
    Route(
        "POST",
        "/media",
        media.upload,
        SEND,
        query=media.UploadQuery,
        body=bodies.UploadFile,
        takes="multipart/form-data",
        answer=media.UploadedAnswer,
        status=201,
        bound=True,
    ),
    Route("POST", "/messages/{id}/read", messages.read, SEND, status=204, bound=True),
    Route("POST", "/connections/{connection}/typing", messages.typing, SEND, body=bodies.Typing, status=204),
    Route("GET", "/inbox", inbox.index, READ, query=inbox.InboxQuery, answer=Page[inbox.InboxAnswer], bound=True),
    Route("GET", "/inbox/{id}", inbox.show, READ, answer=inbox.RawAnswer, bound=True),
    Route("POST", "/inbox/{id}/process", inbox.process, CONTROL, answer=inbox.ProcessedAnswer, status=202, bound=True),
    Route("GET", "/media/{id}", media.content, None, query=media.LinkQuery, media="application/octet-stream"),
    Route("GET", "/media/{id}/link", media.link, READ, answer=media.LinkAnswer, bound=True),
    Route("DELETE", "/media/{id}", media.delete, CONTROL, status=204, bound=True),
    Route("GET", "/messages/{id}", messages.show, READ, answer=answers.MessageAnswer, bound=True),
    Route("GET", "/messages/{id}/timeline", messages.timeline, READ, answer=messages.Timeline, bound=True),
    Route(
        "POST", "/messages/{id}/retry", messages.retry, CONTROL, answer=answers.MessageAnswer, status=202, bound=True
    ),
    Route("DELETE", "/messages/{id}", messages.cancel, CONTROL, answer=answers.MessageAnswer, bound=True),
)
