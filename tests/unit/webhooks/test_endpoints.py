from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from tests.support import FakeClock, make_ids
from zapd.errors import InvalidInput
from zapd.model.webhook import Endpoint
from zapd.webhooks.endpoints import Endpoints
from zapd.webhooks.guard import Guard
from zapd.webhooks.resolver import Resolver
from zapd.webhooks.signature import key_of, new_secret

NAMES = {
    "public.test": ("93.184.215.14",),
    "inside.test": ("10.1.1.1",),
    "both.test": ("93.184.215.14", "10.1.1.1"),
    "cloud.test": ("169.254.169.254",),
}
CLOCK = FakeClock()
HOUR = 3600.0


def look_up(name: str) -> tuple[str, ...]:
    if name not in NAMES:
        raise OSError("no such name")
    return NAMES[name]


@pytest.fixture
def rules() -> Iterator[Endpoints]:
    """Rules of an operator who opened 10.0.0.0/8."""
    guard = Guard(allow_networks=[ip_network("10.0.0.0/8")])
    resolver = Resolver(guard=guard, look_up=look_up)
    numbers = iter(range(1, 100))
    yield Endpoints(
        guard=guard,
        resolver=resolver,
        ids=make_ids(),
        now_ms=CLOCK.now_ms,
        random_bytes=lambda n: bytes([next(numbers)]) * n,
    )
    resolver.close()


async def made(rules: Endpoints, **given: Any) -> Endpoint:
    return await rules.made(**{"tenant": "t1", "url": "https://public.test/hook", **given})


async def test_a_new_endpoint_takes_everything_and_has_a_fresh_secret(rules: Endpoints) -> None:
    endpoint = await made(rules)
    assert endpoint.id.startswith("end_")
    assert (endpoint.types, endpoint.enabled, endpoint.url) == (("*",), True, "https://public.test/hook")
    assert len(key_of(endpoint.secrets[0].value)) == 32


@pytest.mark.parametrize(
    "url", ["https://public.test", "https://inside.test", "http://inside.test:8080", "https://not.yet.known.test/x"]
)
async def test_urls_that_are_taken(rules: Endpoints, url: str) -> None:
    assert (await made(rules, url=url)).url == url


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://public.test", "https://"),
        ("http://both.test", "https://"),
        ("http://not.yet.known.test", "https://"),
        ("https://cloud.test", "link-local"),
        ("https://192.168.0.1", "private"),
        ("https://127.0.0.1", "loopback"),
        ("https://2130706433", "usual spelling"),
        ("https://me:pw@public.test", "password"),
        ("hooks", "https://"),
        ("https://public.test/" + "x" * 2048, "longer"),
    ],
)
async def test_urls_that_are_refused_and_why(rules: Endpoints, url: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await made(rules, url=url, url_field="webhook_url")
    (problem,) = refused.value.fields
    assert problem.field == "webhook_url"
    assert rule in problem.rule


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"types": []}, "types"),
        ({"types": ["message.sent", "message.*.x"]}, "types.1"),
        ({"types": ["message sent"]}, "types.0"),
        ({"types": ["**"]}, "types.0"),
        ({"headers": {"Host": "x"}}, "headers.Host"),
        ({"headers": {"webhook-id": "x"}}, "headers.webhook-id"),
        ({"headers": {"X-ZapHub-Event": "x"}}, "headers.X-ZapHub-Event"),
        ({"headers": {"X-A": "b\r\nX-Evil: 1"}}, "headers.X-A"),
        ({"headers": {"X-A": "é"}}, "headers.X-A"),
        ({"headers": {"X A": "b"}}, "headers"),
        ({"headers": {f"X-{i}": "" for i in range(21)}}, "headers"),
        ({"secret": "whsec_short"}, "secret"),
        ({"secret": "plain text"}, "secret"),
    ],
)
async def test_other_fields_that_are_refused(rules: Endpoints, given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await made(rules, **given)
    assert [problem.field for problem in refused.value.fields] == [field]


async def test_every_wrong_field_is_named_at_once(rules: Endpoints) -> None:
    with pytest.raises(InvalidInput) as refused:
        await made(rules, url="x", types=["?"], secret="x")
    assert [problem.field for problem in refused.value.fields] == ["url", "types.0", "secret"]


async def test_a_change_keeps_what_is_not_given(rules: Endpoints) -> None:
    endpoint = await made(rules, types=["message.*"], headers={"X-A": "b"})
    changed = await rules.changed(endpoint, url="https://inside.test")
    assert (changed.url, changed.types, changed.headers) == ("https://inside.test", ("message.*",), (("X-A", "b"),))
    with pytest.raises(InvalidInput):
        await rules.changed(endpoint, url="https://cloud.test")


async def test_switching_off_gives_a_reason_and_on_forgives_it(rules: Endpoints) -> None:
    off = await rules.changed(await made(rules), enabled=False)
    assert (off.enabled, off.disabled_reason) == (False, "by request")
    on = await rules.changed(off, enabled=True)
    assert (on.enabled, on.disabled_reason) == (True, None)


async def test_a_rotation_keeps_the_old_secret_for_a_day_and_at_most_three(rules: Endpoints) -> None:
    endpoint = await made(rules)
    for _ in range(4):
        endpoint = rules.rotated(endpoint)
    assert len(endpoint.secrets) == 3
    assert endpoint.secrets[0].expires_at is None
    assert [s.expires_at for s in endpoint.secrets[1:]] == [CLOCK.now_ms() + round(24 * HOUR * 1000)] * 2


async def test_a_rotation_never_lengthens_an_old_secrets_life(rules: Endpoints) -> None:
    once = rules.rotated(await made(rules), overlap=HOUR)
    twice = rules.rotated(once, overlap=24 * HOUR)
    assert twice.secrets[2].expires_at == once.secrets[1].expires_at


async def test_a_rotation_without_overlap_drops_the_old_secret_at_once(rules: Endpoints) -> None:
    own = new_secret(lambda n: b"\xaa" * n)
    rotated = rules.rotated(await made(rules), secret=own, overlap=0)
    assert [s.value for s in rotated.secrets] == [own]


@pytest.mark.parametrize("overlap", [-1.0, 8 * 24 * HOUR])
async def test_an_overlap_has_limits(rules: Endpoints, overlap: float) -> None:
    endpoint = await made(rules)
    with pytest.raises(InvalidInput, match="overlap"):
        rules.rotated(endpoint, overlap=overlap)


async def test_both_kinds_of_secret_rotate_side_by_side(rules: Endpoints) -> None:
    endpoint = await rules.made(tenant="t", url="https://example.com", signing=["v1", "v1a"])
    rotated = rules.rotated(rules.rotated(rules.rotated(rules.rotated(endpoint))))
    assert [secret.value.partition("_")[0] for secret in rotated.secrets] == ["whsec"] * 3 + ["whsk"] * 3
    newest = [secret for secret in rotated.secrets if secret.expires_at is None]
    assert [secret.value.partition("_")[0] for secret in newest] == ["whsec", "whsk"]


async def test_one_secret_does_not_do_for_two_kinds(rules: Endpoints) -> None:
    with pytest.raises(InvalidInput) as error:
        await rules.made(tenant="t", url="https://example.com", signing=["v1", "v1a"], secret="whsec_" + "A" * 43 + "=")
    assert [field.field for field in error.value.fields] == ["secret"]
