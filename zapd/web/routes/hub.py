"""The event hub."""

from zapd.model.access import Scope
from zapd.web import event_routes, hub, inbound, mappings, own_events, sources, syncs, targets
from zapd.web.answers import Page
from zapd.web.pages import PageQuery
from zapd.web.route import Route

READ, SEND, CONTROL, SETTINGS = Scope.READ, Scope.SEND, Scope.CONTROL, Scope.SETTINGS
ONE, CHANGE = hub.DefinitionAnswer, hub.ChangeDefinition
LIST = Page[hub.DefinitionAnswer]

HUB: tuple[Route, ...] = (
    # in
    Route("POST", "/hooks/{source}", inbound.receive, None, answer=inbound.TakenAnswer, status=202, accepts="hook"),
    Route("GET", "/hooks/{source}", inbound.handshake, None, media="text/plain"),
    Route(
        "POST",
        "/events",
        own_events.post,
        SEND,
        body=own_events.PostEvent,
        answer=own_events.PostedEvent,
        status=202,
        accepts="event",
    ),
    Route("GET", "/events/{id}/why", own_events.why, READ, answer=own_events.WhyAnswer),
    Route(
        "POST",
        "/events/replay",
        own_events.replay,
        CONTROL,
        body=own_events.ReplayEvents,
        answer=own_events.ReplayAnswer,
        status=202,
    ),
    Route(
        "POST",
        "/events/process",
        own_events.process,
        CONTROL,
        body=own_events.HowMany,
        answer=own_events.ProcessedAnswer,
    ),
    Route(
        "POST",
        "/events/retry-failed",
        own_events.retry_failed,
        CONTROL,
        body=own_events.HowMany,
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
        body=inbound.RetryQuarantine,
        answer=inbound.RetriedCalls,
        status=202,
    ),
    Route("GET", "/quarantine/{id}", inbound.show, READ, answer=inbound.QuarantinedWhole),
    Route("POST", "/quarantine/{id}/retry", inbound.retry, CONTROL, answer=inbound.TakenAnswer, status=202),
    Route("DELETE", "/quarantine/{id}", inbound.drop, CONTROL, status=204),
    # through
    Route("POST", "/sources", sources.create, SETTINGS, body=hub.CreateSource, answer=ONE, status=201),
    Route("GET", "/sources", sources.index, READ, query=PageQuery, answer=LIST),
    Route("GET", "/sources/{name}", sources.show, READ, answer=ONE),
    Route("PATCH", "/sources/{name}", sources.update, SETTINGS, body=CHANGE, answer=ONE),
    Route("DELETE", "/sources/{name}", sources.delete, SETTINGS, status=204),
    Route("POST", "/mappings", mappings.create, SETTINGS, body=hub.CreateMapping, answer=ONE, status=201),
    Route("GET", "/mappings", mappings.index, READ, query=PageQuery, answer=LIST),
    Route("GET", "/mappings/{name}", mappings.show, READ, answer=ONE),
    Route("PATCH", "/mappings/{name}", mappings.update, SETTINGS, body=CHANGE, answer=ONE),
    Route("DELETE", "/mappings/{name}", mappings.delete, SETTINGS, status=204),
    Route("GET", "/mappings/{name}/versions", mappings.versions, READ, answer=LIST),
    Route("POST", "/mappings/{name}/versions", mappings.draft, SETTINGS, body=CHANGE, answer=ONE, status=200),
    Route("POST", "/mappings/{name}/activate", mappings.activate, SETTINGS, body=mappings.ActivateVersion, answer=ONE),
    Route(
        "POST",
        "/mappings/{name}/backtest",
        mappings.backtest,
        SETTINGS,
        body=mappings.RunBacktest,
        answer=mappings.BacktestAnswer,
    ),
    Route("POST", "/routes", event_routes.create, SETTINGS, body=hub.CreateRoute, answer=ONE, status=201),
    Route("GET", "/routes", event_routes.index, READ, query=PageQuery, answer=LIST),
    Route("GET", "/routes/{name}", event_routes.show, READ, answer=ONE),
    Route("PATCH", "/routes/{name}", event_routes.update, SETTINGS, body=CHANGE, answer=ONE),
    Route("DELETE", "/routes/{name}", event_routes.delete, SETTINGS, status=204),
    Route("POST", "/targets", targets.create, SETTINGS, body=hub.CreateTarget, answer=ONE, status=201),
    Route("GET", "/targets", targets.index, READ, query=PageQuery, answer=LIST),
    Route("GET", "/targets/{name}", targets.show, READ, answer=ONE),
    Route("PATCH", "/targets/{name}", targets.update, SETTINGS, body=CHANGE, answer=ONE),
    Route("DELETE", "/targets/{name}", targets.delete, SETTINGS, status=204),
    Route("POST", "/targets/{name}/check", targets.check, CONTROL, answer=targets.TargetHealth),
    Route("POST", "/syncs", syncs.create, SETTINGS, body=hub.CreateSync, answer=ONE, status=201),
    Route("GET", "/syncs", syncs.index, READ, query=PageQuery, answer=LIST),
    Route("GET", "/syncs/{name}", syncs.show, READ, answer=ONE),
    Route("PATCH", "/syncs/{name}", syncs.update, SETTINGS, body=CHANGE, answer=ONE),
    Route("DELETE", "/syncs/{name}", syncs.delete, SETTINGS, status=204),
    Route("POST", "/syncs/{name}/start", syncs.start, CONTROL, answer=syncs.SyncStarted, status=202),
    Route("GET", "/syncs/{name}/run", syncs.status, READ, answer=syncs.SyncRun),
)
