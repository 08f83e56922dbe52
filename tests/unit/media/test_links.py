"""Signed links: they open one file, of one tenant, until they expire."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.support import FakeClock
from zapd.errors import Forbidden
from zapd.media.links import Links

KEY, OLD = bytes(32), bytes(31) + b"\x01"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def a_linker(clock: FakeClock, *keys: bytes) -> Links:
    return Links(keys=keys or [KEY], base_url="https://z.example", lifetime=60.0, now_ms=clock.now_ms)


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


@pytest.mark.parametrize("tenant", ["default", "other"])
def test_a_link_opens_its_file_until_it_expires(clock: FakeClock, tenant: str) -> None:
    links = a_linker(clock)
    made = links.make(tenant, "med_1")
    assert made.url.startswith("https://z.example/media/med_1?exp=")
    assert links.check("med_1", query_of(made.url)) == tenant
    clock.value = made.expires_at - 1
    links.check("med_1", query_of(made.url))
    clock.value = made.expires_at
    with pytest.raises(Forbidden, match="expired"):
        links.check("med_1", query_of(made.url))


@pytest.mark.parametrize(
    "change",
    [{"exp": "99999999999"}, {"exp": ""}, {"exp": "1e9"}, {"exp": "²"}, {"sig": ""}, {"sig": "\udcff"}, {"t": "x"}],
)
def test_a_link_that_was_changed_opens_nothing(clock: FakeClock, change: dict[str, str]) -> None:
    links = a_linker(clock)
    query = query_of(links.make("default", "med_1").url)
    with pytest.raises(Forbidden):
        links.check("med_1", query | change)
    with pytest.raises(Forbidden):
        links.check("med_2", query)


def test_links_outlive_a_change_of_keys(clock: FakeClock) -> None:
    made = a_linker(clock, OLD).make("default", "med_1")
    assert a_linker(clock, KEY, OLD).check("med_1", query_of(made.url)) == "default"
    with pytest.raises(Forbidden):
        a_linker(clock, KEY).check("med_1", query_of(made.url))
