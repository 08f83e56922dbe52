"""The script of troubles."""

import pytest
from pydantic import ValidationError

from zapd.whatsapp.sandbox_faults import REFUSALS, Fault, FaultKind, Script
from zapd.whatsapp.transport import PauseNewContacts, Permanent, RetryAt


def test_each_send_takes_the_next_trouble_as_often_as_scripted() -> None:
    script = Script()
    script.replace([Fault(kind=FaultKind.TRANSIENT, times=2), Fault(kind=FaultKind.SLOW)])
    taken = [script.next_send() for _ in range(4)]
    assert [fault.kind if fault else None for fault in taken] == ["transient", "transient", "slow", None]


def test_the_code_of_a_close_may_be_a_number() -> None:
    assert Fault.model_validate({"kind": "close", "code": 440}).code == "440"
    for code in (999, True, "x", None):
        with pytest.raises(ValidationError):
            Fault.model_validate({"kind": "close", "code": code})


def test_a_new_script_replaces_the_old() -> None:
    script = Script()
    script.replace([Fault(kind=FaultKind.TRANSIENT, times=9)])
    script.replace([])
    assert script.next_send() is None


def test_refusals_are_the_errors_that_senders_know() -> None:
    def refusal(kind: FaultKind) -> object:
        return REFUSALS[kind](Fault(kind=kind, retry_after=7))

    limited, pair = refusal(FaultKind.RATE_LIMITED), refusal(FaultKind.PAIR_RATE)
    assert isinstance(limited, RetryAt)
    assert isinstance(pair, RetryAt)
    assert (limited.wait, limited.whole_session) == (7, True)
    assert (pair.wait, pair.whole_session) == (7, False)
    assert isinstance(refusal(FaultKind.TIMELOCK), PauseNewContacts)
    assert isinstance(refusal(FaultKind.PERMANENT), Permanent)
