import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapd.webhooks.retry_after import LONGEST, seconds_of

NOW = 1_700_000_000_000  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("999999999", LONGEST),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0),
        ("Sat, 14 Nov 2026 22:13:00 GMT", LONGEST),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_reads_seconds_and_dates(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header, now_ms=NOW) == seconds


@given(header=st.text())
def test_never_raises(header: str) -> None:
    seconds = seconds_of(header, now_ms=NOW)
    assert seconds is None or 0 <= seconds <= LONGEST
