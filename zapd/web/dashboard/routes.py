"""The dashboard's routes. A page's address also answers its EventSource, see `pages.py`."""

from zapd.model.access import Scope
from zapd.web.dashboard import actions, pages
from zapd.web.dashboard.guard import Handler, page
from zapd.web.route import Route

READ, SEND, CONTROL, SETTINGS, ADMIN = Scope.READ, Scope.SEND, Scope.CONTROL, Scope.SETTINGS, Scope.ADMIN

_CONNECTION = "/dashboard/connections/{connection}"


def _page(method: str, path: str, handler: Handler, scope: Scope | None, *, operator: bool = False) -> Route:
    """A page, or a form's target. The login is asked for by `guard.page`, not by the API's gate."""
    guarded = handler if scope is None else page(scope, handler, operator=operator)
    return Route(method, path, guarded, None, media="text/html", any_query=True)


PAGES: tuple[Route, ...] = (
    _page("GET", "/dashboard/login", pages.show_login, None),
    _page("POST", "/dashboard/login", pages.log_in, None),
    _page("POST", "/dashboard/logout", pages.log_out, READ),
    _page("GET", "/dashboard/language/{language}", pages.language, None),
    _page("GET", "/dashboard/static/{name}", pages.static, None),
    _page("GET", "/dashboard", pages.overview, READ),
    _page("GET", "/dashboard/connections", pages.all_connections, READ),
    _page("POST", "/dashboard/connections", actions.create, SETTINGS),
    _page("GET", "/dashboard/new-connection", pages.new_connection, SETTINGS),
    _page("GET", _CONNECTION, pages.one_connection, READ),
    _page("GET", _CONNECTION + "/qr.svg", pages.code, READ),
    _page("POST", _CONNECTION + "/pause", actions.pause, CONTROL),
    _page("POST", _CONNECTION + "/resume", actions.resume, CONTROL),
    _page("POST", _CONNECTION + "/pair", actions.pair, SETTINGS),
    _page("POST", _CONNECTION + "/logout", actions.logout, SETTINGS),
    _page("POST", _CONNECTION + "/close", actions.close, SETTINGS),
    _page("POST", _CONNECTION + "/send", actions.send, SEND),
    _page("GET", _CONNECTION + "/conversations/{peer}", pages.conversation, READ),
    _page("POST", _CONNECTION + "/conversations/{peer}", actions.send, SEND),
    _page("GET", _CONNECTION + "/messages/{message}/file", pages.file, READ),
    _page("GET", "/dashboard/queues", pages.all_queues, READ),
    _page("POST", "/dashboard/queues/{queue}/pause", actions.pause_queue, ADMIN, operator=True),
    _page("POST", "/dashboard/queues/{queue}/resume", actions.resume_queue, ADMIN, operator=True),
)
