"""Every route in one list.

What comes in a later release (flows, sources, contacts …) has no route yet. The order matters for speed only: aiohttp
tries the routes under one first path segment from top to bottom, so the hot one stands first.
"""

from typing import Any

from zapd.model.access import Scope
from zapd.web import (
    answers,
    bodies,
    connections,
    dead_letters,
    deliveries,
    docs,
    endpoints,
    events,
    hooks,
    jobs,
    keys,
    legacy,
    media,
    messages,
    pages,
    queues,
    sandbox,
    system,
)
from zapd.web.answers import Page
from zapd.web.dashboard.routes import PAGES
from zapd.web.route import Route

READ, SEND, CONTROL, SETTINGS, ADMIN = Scope.READ, Scope.SEND, Scope.CONTROL, Scope.SETTINGS, Scope.ADMIN
METRICS = "/metrics"  #: the one route whose scope depends on where zapd listens

ROUTES: tuple[Route, ...] = (
    # messages
    Route(
        "POST",
        "/connections/{connection}/send",
        messages.send,
        SEND,
        query=messages.SendQuery,
        body=bodies.SendMessage,
        answer=messages.SubmittedAnswer,
        status=202,
        accepts="send",
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
    Route("GET", "/media/{id}", media.content, None, query=media.LinkQuery, media="application/octet-stream"),
    Route("GET", "/media/{id}/link", media.link, READ, answer=media.LinkAnswer, bound=True),
    Route("GET", "/messages/{id}", messages.show, READ, answer=answers.MessageAnswer, bound=True),
    Route("GET", "/messages/{id}/timeline", messages.timeline, READ, answer=messages.Timeline, bound=True),
    Route(
        "POST", "/messages/{id}/retry", messages.retry, CONTROL, answer=answers.MessageAnswer, status=202, bound=True
    ),
    Route("DELETE", "/messages/{id}", messages.cancel, CONTROL, answer=answers.MessageAnswer, bound=True),
    # connections
    Route(
        "POST",
        "/connections",
        connections.create,
        SETTINGS,
        body=bodies.CreateConnection,
        answer=connections.CreatedAnswer,
        status=202,
    ),
    Route(
        "GET",
        "/connections",
        connections.index,
        READ,
        query=pages.PageQuery,
        answer=Page[connections.ConnectionAnswer],
        bound=True,
    ),
    Route("GET", "/connections/{connection}", connections.show, READ, answer=connections.ConnectionAnswer),
    Route(
        "DELETE",
        "/connections/{connection}",
        connections.delete,
        SETTINGS,
        answer=connections.ClosingAnswer,
        status=202,
    ),
    Route("GET", "/connections/{connection}/qr", connections.code, READ, media="image/png"),
    Route("POST", "/connections/{connection}/pause", connections.pause, CONTROL, answer=connections.ConnectionAnswer),
    Route("POST", "/connections/{connection}/resume", connections.resume, CONTROL, answer=connections.ConnectionAnswer),
    Route(
        "POST",
        "/connections/{connection}/pair",
        connections.pair,
        SETTINGS,
        body=bodies.Pair,
        answer=connections.ConnectionAnswer,
        status=202,
    ),
    Route(
        "POST", "/connections/{connection}/logout", connections.logout, SETTINGS, answer=connections.ConnectionAnswer
    ),
    # provider webhooks
    Route("GET", "/hooks/cloud/{connection}", hooks.verify_cloud, None, media="text/plain"),
    Route("POST", "/hooks/cloud/{connection}", hooks.receive_cloud, None, media="text/plain", accepts="hook"),
    # events and webhooks
    Route("GET", "/events", events.index, READ, query=events.EventsQuery, answer=Page[answers.EventAnswer], bound=True),
    Route("GET", "/events/{id}", events.show, READ, answer=answers.EventAnswer, bound=True),
    Route("GET", "/stream", events.stream, READ, query=events.StreamQuery, media="text/event-stream", bound=True),
    Route(
        "POST",
        "/endpoints",
        endpoints.create,
        SETTINGS,
        body=bodies.CreateEndpoint,
        answer=endpoints.EndpointWithSecret,
        status=201,
        bound=True,
    ),
    Route("GET", "/endpoints", endpoints.index, READ, query=pages.PageQuery, answer=Page[answers.EndpointAnswer]),
    Route("GET", "/endpoints/{id}", endpoints.show, READ, answer=answers.EndpointAnswer, bound=True),
    Route(
        "PATCH",
        "/endpoints/{id}",
        endpoints.update,
        SETTINGS,
        body=bodies.UpdateEndpoint,
        answer=answers.EndpointAnswer,
        bound=True,
    ),
    Route("DELETE", "/endpoints/{id}", endpoints.delete, SETTINGS, status=204, bound=True),
    Route(
        "POST",
        "/endpoints/{id}/rotate",
        endpoints.rotate,
        SETTINGS,
        body=bodies.RotateSecret,
        answer=endpoints.EndpointWithSecret,
        bound=True,
    ),
    Route(
        "GET",
        "/deliveries",
        deliveries.index,
        READ,
        query=deliveries.DeliveriesQuery,
        answer=Page[answers.DeliveryAnswer],
    ),
    Route("GET", "/deliveries/{id}", deliveries.show, READ, answer=deliveries.DeliveryWithAttempts, bound=True),
    Route(
        "POST",
        "/deliveries/{id}/retry",
        deliveries.retry,
        CONTROL,
        answer=answers.DeliveryAnswer,
        status=202,
        bound=True,
    ),
    # queues and jobs
    Route("GET", "/queues", queues.index, READ, answer=Page[queues.QueueAnswer]),
    Route("POST", "/queues/pause", queues.pause_all, ADMIN, answer=queues.PausedAnswer),
    Route("POST", "/queues/resume", queues.resume_all, ADMIN, answer=queues.PausedAnswer),
    Route("GET", "/queues/{queue}", queues.show, READ, answer=queues.QueueAnswer),
    Route("GET", "/queues/{queue}/jobs", queues.jobs, READ, query=queues.JobsQuery, answer=Page[answers.JobAnswer]),
    Route(
        "POST",
        "/queues/{queue}/jobs",
        jobs.enqueue,
        SEND,
        body=bodies.EnqueueJobs,
        answer=jobs.ItemsAnswer,
        status=202,
        accepts="job",
    ),
    Route("POST", "/queues/{queue}/pause", queues.pause, ADMIN, answer=queues.PausedAnswer),
    Route("POST", "/queues/{queue}/resume", queues.resume, ADMIN, answer=queues.PausedAnswer),
    Route("GET", "/jobs/{id}", jobs.show, READ, answer=answers.JobAnswer),
    Route("POST", "/jobs/{id}/retry", jobs.retry, CONTROL, answer=jobs.RetriedJob, status=202),
    Route("DELETE", "/jobs/{id}", jobs.delete, CONTROL, status=204),
    Route(
        "GET", "/dead-letters", dead_letters.index, READ, query=dead_letters.DeadQuery, answer=Page[answers.JobAnswer]
    ),
    Route(
        "POST",
        "/dead-letters/retry",
        dead_letters.retry,
        CONTROL,
        body=bodies.DeadFilter,
        answer=dead_letters.RetriedAnswer,
        status=202,
    ),
    Route(
        "DELETE",
        "/dead-letters",
        dead_letters.purge,
        CONTROL,
        query=dead_letters.PurgeQuery,
        answer=dead_letters.PurgedAnswer,
    ),
    Route("GET", "/api/queue/stats", legacy.stats, READ, answer=legacy.StatsAnswer),
    Route("POST", "/api/queue/clean", legacy.clean, ADMIN, body=bodies.CleanQueues, answer=legacy.CleanAnswer),
    # the simulated network
    Route(
        "GET",
        "/sandbox/{connection}/ledger",
        sandbox.ledger,
        READ,
        query=sandbox.LedgerQuery,
        answer=Page[sandbox.LedgerAnswer],
    ),
    Route(
        "POST",
        "/sandbox/{connection}/inbound",
        sandbox.inbound,
        SEND,
        body=bodies.SandboxInbound,
        answer=sandbox.WrittenAnswer,
        status=202,
    ),
    Route(
        "POST",
        "/sandbox/{connection}/faults",
        sandbox.faults,
        CONTROL,
        body=bodies.SandboxFaults,
        answer=sandbox.ScriptAnswer,
        status=202,
    ),
    # keys
    Route("POST", "/keys", keys.create, ADMIN, body=bodies.CreateKey, answer=keys.CreatedKeyAnswer, status=201),
    Route("GET", "/keys", keys.index, ADMIN, query=pages.PageQuery, answer=Page[answers.KeyAnswer]),
    Route("DELETE", "/keys/{id}", keys.revoke, ADMIN, answer=answers.KeyAnswer),
    # the daemon
    Route("GET", "/health", system.health, None, answer=system.HealthAnswer),
    Route("GET", "/ready", system.ready, None, answer=system.ReadyAnswer),
    Route("GET", "/status", system.status, READ, answer=dict[str, Any]),
    Route("GET", METRICS, system.metrics, READ, media="text/plain"),
    Route("GET", "/openapi.json", docs.openapi_json, None, answer=dict[str, Any]),
    Route("GET", "/docs", docs.page, None, media="text/html"),
)

#: With the pages for people, which are no part of the API.
ALL: tuple[Route, ...] = (*ROUTES, *PAGES)
