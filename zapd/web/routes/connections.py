"""WhatsApp accounts, what providers call, and the simulated network."""

from zapd.model.access import Scope
from zapd.web import (
    bodies,
    connections,
    hooks,
    sandbox,
    templates,
)
from zapd.web.answers import Page
from zapd.web.route import Route

READ, SEND, CONTROL, SETTINGS = Scope.READ, Scope.SEND, Scope.CONTROL, Scope.SETTINGS

CONNECTIONS: tuple[Route, ...] = (
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
        query=connections.ConnectionsQuery,
        answer=Page[connections.ConnectionAnswer],
        bound=True,
    ),
    Route("GET", "/connections/{connection}", connections.show, READ, answer=connections.ConnectionAnswer),
    Route(
        "PATCH",
        "/connections/{connection}",
        connections.update,
        SETTINGS,
        body=bodies.UpdateConnection,
        answer=connections.ConnectionAnswer,
    ),
    Route(
        "DELETE",
        "/connections/{connection}",
        connections.delete,
        SETTINGS,
        answer=connections.ClosingAnswer,
        status=202,
    ),
    Route(
        "GET",
        "/connections/{connection}/qr",
        connections.code,
        READ,
        answer=connections.QrAnswer,
        media="image/png",
        also_as=("image/svg+xml", "text/plain", "application/json"),
        conflicts=True,
    ),
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
    Route(
        "GET",
        "/connections/{connection}/templates",
        templates.index,
        READ,
        query=templates.TemplatesQuery,
        answer=Page[templates.TemplateAnswer],
    ),
    Route("DELETE", "/connections/{connection}/templates/{name}/{language}", templates.forget, CONTROL, status=204),
    # provider webhooks
    Route("GET", "/hooks/cloud/{connection}", hooks.verify_cloud, None, media="text/plain", any_query=True),
    Route(
        "POST",
        "/hooks/cloud/{connection}",
        hooks.receive_cloud,
        None,
        raw="application/json",
        headers=("X-Hub-Signature-256",),
        media="text/plain",
        accepts="hook",
        any_query=True,
    ),
    Route(
        "POST",
        "/hooks/zapi/{connection}/{secret}",
        hooks.receive_zapi,
        None,
        raw="application/json",
        media="text/plain",
        accepts="hook",
        any_query=True,
    ),
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
)
