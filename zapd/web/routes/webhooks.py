"""Events, endpoints, deliveries."""

from zapd.model.access import Scope
from zapd.web import (
    answers,
    bodies,
    deliveries,
    endpoints,
    events,
)
from zapd.web.answers import Page
from zapd.web.route import Route

READ, CONTROL, SETTINGS = Scope.READ, Scope.CONTROL, Scope.SETTINGS

WEBHOOKS: tuple[Route, ...] = (
    Route("GET", "/events", events.index, READ, query=events.EventsQuery, answer=Page[answers.EventAnswer], bound=True),
    Route("GET", "/events/{id}", events.show, READ, answer=events.EventWhole, bound=True),
    Route(
        "GET",
        "/stream",
        events.stream,
        READ,
        query=events.StreamQuery,
        headers=("Last-Event-ID",),
        media="text/event-stream",
        bound=True,
    ),
    Route(
        "POST",
        "/endpoints",
        endpoints.create,
        SETTINGS,
        body=bodies.CreateEndpoint,
        answer=endpoints.CreatedEndpoint,
        status=201,
        bound=True,
    ),
    Route(
        "GET", "/endpoints", endpoints.index, READ, query=endpoints.EndpointsQuery, answer=Page[answers.EndpointAnswer]
    ),
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
    Route("POST", "/endpoints/{id}/ping", endpoints.ping, SETTINGS, answer=endpoints.PingAnswer, bound=True),
    Route(
        "POST",
        "/endpoints/{id}/drop-old-secrets",
        endpoints.drop_secrets,
        SETTINGS,
        body=bodies.DropSecrets,
        answer=answers.EndpointAnswer,
        bound=True,
    ),
    Route(
        "POST",
        "/endpoints/{id}/recover",
        endpoints.recover,
        CONTROL,
        body=bodies.RecoverEndpoint,
        answer=endpoints.RecoveredAnswer,
        status=202,
        bound=True,
    ),
    Route(
        "GET",
        "/endpoints/{id}/events",
        endpoints.events,
        READ,
        query=endpoints.NumbersQuery,
        answer=Page[endpoints.NumberedEvent],
        bound=True,
    ),
    Route(
        "GET",
        "/.well-known/webhook-keys.json",
        endpoints.public_keys,
        None,
        query=endpoints.KeysQuery,
        answer=endpoints.PublicKeys,
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
    Route("GET", "/deliveries/{id}/curl", deliveries.curl, SETTINGS, media="text/plain", bound=True),
    Route(
        "POST",
        "/deliveries/{id}/retry",
        deliveries.retry,
        CONTROL,
        answer=answers.DeliveryAnswer,
        status=202,
        bound=True,
    ),
)
