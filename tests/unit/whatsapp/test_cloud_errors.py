"""Meta's codes → the outcomes that senders know (wire facts §1.5)."""

import orjson
import pytest

from zapd.whatsapp.cloud_errors import to_error, to_problem
from zapd.whatsapp.cloud_pace import MAX_PEERS, Pace
from zapd.whatsapp.transport import PauseNewContacts, PauseSession, Permanent, RetryAt, SendError


def error(http: int, code: int | None = None, *, retry_after: str | None = None, **more: object) -> SendError:
    body = b"<html>" if code is None else orjson.dumps({"error": {"message": "no", "code": code, **more}})
    return to_error(to_problem(http, body, retry_after))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, PauseSession) for code in (0, 3, 10, 190, 200, 299, 368, 131005, 131031, 131042, 131045, 133010)),
        *((code, RetryAt) for code in (1, 2, 4, 80007, 130429, 131000, 131016, 131056, 131057, 133004)),
        *((code, Permanent) for code in (33, 100, 130472, 131026, 131047, 131049, 131050, 131051, 132001, 135000)),
        *((code, PauseNewContacts) for code in (131048, 131064)),
    ],
)
def test_metas_code_decides_whatever_the_http_status(code: int, kind: type[SendError]) -> None:
    for http in (400, 500):
        assert type(error(http, code)) is kind


@pytest.mark.parametrize(
    ("http", "kind"),
    [(500, RetryAt), (503, RetryAt), (429, RetryAt), (408, RetryAt), (401, PauseSession), (404, Permanent)],
)
def test_without_a_code_the_http_status_decides(http: int, kind: type[SendError]) -> None:
    assert type(error(http)) is kind


def test_an_unknown_code_is_permanent_unless_meta_calls_it_transient() -> None:
    assert type(error(400, 999999)) is Permanent
    assert type(error(400, 999999, is_transient=True)) is RetryAt
    assert type(error(500, 999999)) is RetryAt


def test_the_reason_of_a_pause_is_a_word_and_keeps_the_code() -> None:
    paused = error(401, 190)
    assert (paused.code, paused.detail) == ("auth_failed", "190: no")


def test_waiting_for_a_rate_limit_burns_no_attempt_and_a_failure_does() -> None:
    limited, failed = error(429, 130429), error(500, 131000)
    assert isinstance(limited, RetryAt)
    assert isinstance(failed, RetryAt)
    assert (limited.whole_session, failed.wait) == (True, None)
    assert limited.wait


@pytest.mark.parametrize(
    ("header", "wait"), [("30", 30.0), ("soon", 1.0), (None, 1.0), ("-5", 1.0), ("999999", 3600.0)]
)
def test_retry_after_lengthens_the_wait(header: str | None, wait: float) -> None:
    limited = error(429, 130429, retry_after=header)
    assert isinstance(limited, RetryAt)
    assert limited.wait == wait


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"error": 5}', b'{"error": {"code": "x"}}', b"\xff"])
def test_a_body_of_any_shape_is_read(body: bytes) -> None:
    assert to_problem(502, body).code == 502


def hit(pace: Pace, code: int, peer: str = "a") -> float:
    slowed = pace.slowed(error(400, code), peer)
    assert isinstance(slowed, RetryAt)
    assert slowed.wait is not None
    return slowed.wait


def test_the_number_slows_down_at_each_hit_until_a_success() -> None:
    pace = Pace(random=lambda: 0.0)
    assert [hit(pace, 130429) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    pace.succeeded("a")
    assert hit(pace, 130429) == 1


def test_a_recipient_slows_down_alone() -> None:
    pace = Pace(random=lambda: 0.0)
    assert [hit(pace, 131056, "a") for _ in range(3)] == [1, 4, 16]
    assert hit(pace, 131056, "b") == 1
    pace.succeeded("a")
    assert hit(pace, 131056, "a") == 1


def test_recipients_that_are_remembered_are_bounded() -> None:
    pace = Pace(random=lambda: 0.0)
    for n in range(MAX_PEERS + 1):
        hit(pace, 131056, str(n))
    assert hit(pace, 131056, "0") == 1
    assert hit(pace, 131056, str(MAX_PEERS)) == 4
