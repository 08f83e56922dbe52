"""What the library's words mean for a message."""

import pytest

from zapd.model.session import SessionState
from zapd.whatsapp.transport import NotConnected, PauseNewContacts, PauseSession, Permanent, RetryAt, UnknownOutcome
from zapd.whatsapp.web.errors import is_corrupt, of_call, of_end, of_send, short

AFTER = [
    "SendMessageError: timed out waiting for message send response",
    "SendMessageError: websocket disconnected before message send returned response",
    "SendMessageError: websocket disconnected before message send (retry) returned response",
    "SendMessageError: failed to send message node: write: broken pipe",
    "SendMessageError: words that a later build of the library has",
]
BEFORE = [
    "SendMessageError: failed to get device list: failed to send usync query: info query timed out",
    "SendMessageError: websocket disconnected before info query returned response",
    "SendMessageError: can't encrypt message for device: no signal session established",
    "UploadError: failed to upload media: 500",
]


@pytest.mark.parametrize("words", AFTER)
def test_what_may_have_been_on_the_line_is_a_doubt(words: str) -> None:
    error = of_send(words, provider_id="3EB0")
    assert isinstance(error, UnknownOutcome)
    assert error.provider_id == "3EB0"


@pytest.mark.parametrize("words", [*AFTER, *BEFORE])
def test_what_got_no_id_never_left(words: str) -> None:
    assert isinstance(of_send(words, provider_id=None), RetryAt)


@pytest.mark.parametrize("words", BEFORE)
def test_what_failed_before_the_line_never_left(words: str) -> None:
    assert isinstance(of_send(words, provider_id="3EB0"), RetryAt)


@pytest.mark.parametrize(
    "words",
    [
        "the store doesn't contain a device JID",
        "client is nil",
        "websocket not connected",
        "LookupError: no such account",
    ],
)
def test_without_a_line_nothing_left(words: str) -> None:
    assert isinstance(of_send(words, provider_id="3EB0"), NotConnected)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("463", PauseNewContacts),
        ("429", RetryAt),
        ("500", RetryAt),
        ("408", RetryAt),
        ("403", PauseSession),
        ("400", Permanent),
        ("479", Permanent),
    ],
)
def test_whatsapps_answers(code: str, kind: type[Exception]) -> None:
    error = of_send(f"SendMessageError: server returned error {code}", provider_id="3EB0")
    assert type(error) is kind
    assert getattr(error, "code", None) == code


def test_who_is_not_there() -> None:
    assert isinstance(of_call("no LID found for 5511@s.whatsapp.net from server"), Permanent)


@pytest.mark.parametrize(
    "words",
    ["DatabaseError: file is not a database", "database disk image is malformed", "failed to upgrade database: x"],
)
def test_a_corrupt_database(words: str) -> None:
    assert is_corrupt(words)
    assert not is_corrupt("failed to dial whatsapp web websocket: no such host")


def test_words_go_on_without_numbers() -> None:
    assert short("no LID found for 5511999990000@s.whatsapp.net") == "no LID found for …@s.whatsapp.net"


@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        ({"ev": "logged_out", "code": 401}, SessionState.LOGGED_OUT, "401"),
        ({"ev": "logged_out", "code": 403}, SessionState.LOGGED_OUT, "403"),
        ({"ev": "logged_out", "code": 406}, SessionState.BANNED, "406"),
        ({"ev": "logged_out", "code": None}, SessionState.LOGGED_OUT, "401"),
        ({"ev": "refused", "code": 503}, SessionState.RECONNECTING, "503"),
        ({"ev": "refused", "code": None}, SessionState.RECONNECTING, "500"),
        ({"ev": "gone", "how": "x"}, SessionState.RECONNECTING, "worker_died"),
    ],
)
def test_what_ends_a_connection(event: dict[str, object], state: SessionState, reason: str) -> None:
    end = of_end(event)
    assert end
    assert (end.state, end.reason) == (state, reason)


def test_everything_else_ends_nothing() -> None:
    assert of_end({"ev": "code_refused"}) is None
