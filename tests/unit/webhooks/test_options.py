"""What an endpoint may ask for, and a delivery as a curl command."""

from typing import Any

import pytest

from zapd.model.webhook import Options
from zapd.webhooks.curl import command
from zapd.webhooks.options import problems


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"filter": "data."}, "filter"),
        ({"transform": "nope(data)"}, "transform"),
        ({"order_by": ""}, "order_by"),
        ({"channels": ("a b",)}, "channels.0"),
        ({"channels": tuple(f"c{i}" for i in range(60))}, "channels"),
        ({"rate_per_minute": 0}, "rate_per_minute"),
        ({"concurrency": 101}, "concurrency"),
        ({"batch_size": 501}, "batch_size"),
        ({"batch_wait": -1.0}, "batch_wait"),
        ({"batch_size": 5, "order_by": "connection_id"}, "order_by"),
    ],
)
def test_each_wrong_option_is_named(given: dict[str, Any], field: str) -> None:
    assert [problem.field for problem in problems(Options(**given))] == [field]


def test_what_is_right_passes() -> None:
    options = Options(channels=("con_1",), filter="data.a", transform="data", order_by="connection_id")
    assert problems(options) == []
    assert problems(Options(batch_size=500, batch_wait=0, rate_per_minute=1, concurrency=1)) == []


def test_the_curl_command_quotes_and_keeps_secrets_out() -> None:
    headers = [("webhook-id", "evt_1"), ("X-Token", "s3cret")]
    text = command("https://example.com/a'b", headers, b'{"a": "it\'s"}', hidden=["x-token"])
    assert "s3cret" not in text
    assert '"${X_TOKEN}"' in text
    assert "'https://example.com/a'\"'\"'b'" in text
    assert "--header 'webhook-id: evt_1'" in text
