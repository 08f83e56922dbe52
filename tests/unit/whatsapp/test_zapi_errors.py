"""Z-API's words → the five outcomes."""

import pytest

from zapd.whatsapp.transport import NotConnected, PauseNewContacts, PauseSession, Permanent, RetryAt, SendError
from zapd.whatsapp.zapi_errors import TOO_MANY_WAIT, code_of, error_of


@pytest.mark.parametrize(
    ("said", "status", "kind", "code"),
    [
        ("Phone number does not exist", 200, Permanent, "no_such_number"),
        ("Message has not been sent because it got invalid phone number", 400, Permanent, "invalid_number"),
        ("Message not send caused by invalid media url", 400, Permanent, "media_refused"),
        ("Got a 404 error while trying to send message", 400, Permanent, "media_not_found"),
        ("The url is wrong, apparently it can be an html", 400, Permanent, "media_is_html"),
        ("Timeout on send message", 500, RetryAt, "send_timeout"),
        ("Error on send message", 200, RetryAt, "send_error"),
        ("Whatsapp rejected sending this message", 200, PauseNewContacts, "rejected"),
        ("Did not have permission to send", 200, PauseNewContacts, "no_permission"),
        ("It was not sent, likely shadow ban", 200, PauseNewContacts, "shadow_ban"),
        ("null not allowed", 403, PauseSession, "auth_failed"),
        ("your client-token is not configured", 400, PauseSession, "auth_failed"),
        ("whatever", 401, PauseSession, "auth_failed"),
        ("Instance not found", 400, PauseSession, "instance_not_found"),
        ("You are not connected.", 400, NotConnected, "not_connected"),
        ("You need to restore the session.", 400, NotConnected, "not_connected"),
        ("Internal Server Error", 503, RetryAt, "503"),
        ("something new", 400, Permanent, "refused"),
        ("something new", 200, Permanent, "refused"),
    ],
)
def test_what_is_said_decides(said: str, status: int, kind: type[SendError], code: str) -> None:
    error = error_of(said, status=status)
    assert type(error) is kind
    assert error.code == code
    assert not isinstance(error, RetryAt) or error.wait is None


@pytest.mark.parametrize(
    ("hint", "wait"), [("7", 7.0), (None, TOO_MANY_WAIT), ("soon", TOO_MANY_WAIT), ("999999", 3600.0)]
)
def test_too_many_requests_park_the_session(hint: str | None, wait: float) -> None:
    error = error_of("slow down", status=429, retry_after=hint)
    assert isinstance(error, RetryAt)
    assert (error.wait, error.whole_session) == (wait, True)


def test_the_code_of_a_shadow_ban_is_enough() -> None:
    assert code_of("not sent", code="SHADOW_BAN") == "shadow_ban"
    assert code_of("something new") == "refused"
