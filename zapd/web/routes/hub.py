"""The event hub."""

from typing import Any

from pydantic import BaseModel

from zapd.model.access import Scope
from zapd.web import bodies, definitions, hub, inbound, mappings, own_events, syncs, targets
from zapd.web.answers import Page
from zapd.web.definitions import Handlers
from zapd.web.route import Route

READ, SEND, CONTROL, SETTINGS = Scope.READ, Scope.SEND, Scope.CONTROL, Scope.SETTINGS
ONE, CHANGE = hub.DefinitionAnswer, bodies.ChangeDefinition
LIST = Page[hub.DefinitionAnswer]


def _five(path: str, five: Handlers, model: type[BaseModel], shown: Any = ONE) -> tuple[Route, ...]:
    one = path + "/{name}"
    return (
        Route("POST", path, five.create, SETTINGS, body=model, answer=ONE, status=201, defines=model),
        Route("GET", path, five.index, READ, query=hub.DefinitionsQuery, answer=LIST, defines=model),
        Route("GET", one, five.show, READ, answer=shown, defines=model),
        Route("PATCH", one, five.update, SETTINGS, body=CHANGE, answer=hub.VersionAnswer, defines=model),
        Route("DELETE", one, five.delete, SETTINGS, status=204),
    )


HUB: tuple[Route, ...] = (
    # in
    Route(
        "POST",
        "/hooks/{source}",
        inbound.receive,
        None,
        raw="*/*",
        answer=inbound.TakenAnswer,
        status=202,
        accepts="hook",
        any_query=True,
    ),
    Route("GET", "/hooks/{source}", inbound.handshake, None, media="text/plain", any_query=True),
    Route(
        "POST",
        "/events",
        own_events.post,
        SEND,
        body=bodies.PostEvent,
        headers=("Idempotency-Key",),
        answer=own_events.PostedEvent,
        status=202,
        also=(200,),  # with `sync`
        accepts="event",
    ),
    Route("GET", "/events/{id}/why", own_events.why, READ, answer=own_events.WhyAnswer),
    Route(
        "POST",
        "/events/replay",
        own_events.replay,
        CONTROL,
        body=bodies.ReplayEvents,
        answer=own_events.ReplayAnswer,
        status=202,
    ),
    Route(
        "POST",
        "/events/process",
        own_events.process,
        CONTROL,
        body=bodies.HowMany,
        answer=own_events.ProcessedEvents,
    ),
    Route(
        "POST",
        "/events/retry-failed",
        own_events.retry_failed,
        CONTROL,
        body=bodies.HowMany,
        answer=own_events.RetriedFailed,
        status=202,
    ),
    Route("POST", "/actions/{id}/retry", own_events.retry_action, CONTROL, answer=own_events.ActionAnswer, status=202),
    Route("DELETE", "/actions/{id}", own_events.cancel_action, CONTROL, answer=own_events.ActionAnswer),
    Route(
        "GET",
        "/quarantine",
        inbound.quarantined,
        READ,
        query=inbound.QuarantineQuery,
        answer=Page[inbound.QuarantinedAnswer],
    ),
    Route(
        "DELETE",
        "/quarantine",
        inbound.drop_all,
        CONTROL,
        query=inbound.PurgeQuarantine,
        answer=inbound.DroppedCalls,
    ),
    Route(
        "POST",
        "/quarantine/retry",
        inbound.retry_all,
        CONTROL,
        body=bodies.RetryQuarantine,
        answer=inbound.RetriedCalls,
        status=202,
    ),
    Route("GET", "/quarantine/{id}", inbound.show, READ, answer=inbound.QuarantinedWhole),
    Route("POST", "/quarantine/{id}/retry", inbound.retry, CONTROL, answer=inbound.TakenAnswer, status=202),
    Route("DELETE", "/quarantine/{id}", inbound.drop, CONTROL, status=204),
    # through
    *_five("/sources", definitions.SOURCES, bodies.CreateSource),
    *_five("/mappings", mappings.FIVE, bodies.CreateMapping),
    Route(
        "GET",
        "/mappings/{name}/versions",
        mappings.versions,
        READ,
        answer=Page[hub.VersionAnswer],
        defines=bodies.CreateMapping,
    ),
    Route(
        "POST",
        "/mappings/{name}/versions",
        mappings.draft,
        SETTINGS,
        body=CHANGE,
        answer=hub.VersionAnswer,
        defines=bodies.CreateMapping,
    ),
    Route(
        "POST",
        "/mappings/{name}/activate",
        mappings.activate,
        SETTINGS,
        body=bodies.ActivateVersion,
        answer=ONE,
        defines=bodies.CreateMapping,
    ),
    Route(
        "POST",
        "/mappings/{name}/backtest",
        mappings.backtest,
        SETTINGS,
        body=bodies.RunBacktest,
        answer=mappings.BacktestAnswer,
    ),
    *_five("/routes", definitions.ROUTES, bodies.CreateRoute),
    *_five("/targets", targets.FIVE, bodies.CreateTarget, targets.DefinitionWithHealth),
    Route("POST", "/targets/{name}/check", targets.check, CONTROL, answer=targets.CheckAnswer),
    *_five("/syncs", syncs.FIVE, bodies.CreateSync),
    Route("POST", "/syncs/{name}/start", syncs.start, CONTROL, answer=syncs.SyncStarted, status=202),
    Route("GET", "/syncs/{name}/run", syncs.status, READ, answer=syncs.SyncRun),
)
