"""What a person is told to do."""

import pytest

from zapd.model.session import SessionState
from zapd.whatsapp.advice import advice
from zapd.whatsapp.reasons import REASONS, judged
from zapd.whatsapp.transport import StateChange

S = SessionState
ENDS_BY_ITSELF = {S.RECONNECTING, S.FAILED}


@pytest.mark.parametrize("number", sorted(REASONS))
def test_every_end_that_waits_for_a_person_says_what_to_do(number: str) -> None:
    end = judged(StateChange(state=S.RECONNECTING, reason=number))
    assert (advice(end.state, end.reason) is not None) is (end.state not in ENDS_BY_ITSELF)


def test_the_reason_decides_before_the_state() -> None:
    assert "for some time" in (advice(S.BANNED, "402_temporary_ban") or "")
    assert "passkey" in (advice(S.PASSKEY_REQUIRED, "passkey") or "")
    assert "passkey" in (advice(S.FAILED, "passkey_timeout") or "")


@pytest.mark.parametrize("state", [S.CONNECTED, S.RECONNECTING, S.STARTING, S.QR_PENDING, S.CLOSED])
def test_who_needs_nobody_says_nothing(state: SessionState) -> None:
    assert advice(state, "auth_failed") is None


def test_whoever_paused_it_knows_why() -> None:
    assert advice(S.PAUSED, "asked") is None
