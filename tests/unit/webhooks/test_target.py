import pytest

from zapd.webhooks.guard import Blocked
from zapd.webhooks.target import target_of


def test_takes_a_url_apart() -> None:
    target = target_of("https://Hooks.Example.com/in?a=b%20c#fragment")
    assert (target.tls, target.host, target.port) == (True, "hooks.example.com", 443)
    assert (target.authority, target.path) == ("hooks.example.com", "/in?a=b%20c")


def test_an_unusual_port_is_part_of_the_host_header() -> None:
    assert target_of("http://example.com:8080").authority == "example.com:8080"
    assert target_of("http://example.com:8080").path == "/"


def test_an_ipv6_address_stands_in_brackets_in_the_host_header_only() -> None:
    target = target_of("https://[2a00:1450::1]:8443/x")
    assert (target.host, target.authority) == ("2a00:1450::1", "[2a00:1450::1]:8443")


def test_names_in_other_scripts_become_ascii() -> None:
    assert target_of("https://bücher.example/").host == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "/path",
        "ftp://example.com",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/",
        "https://",
        "https://user@example.com",
        "https://user:secret@example.com",
        "https://example.com@127.0.0.1",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://1.2.3.4.5/",
        "http://[::1",
        "http://[fe80::1%25eth0]x/",
        "https://example.com:99999/",
        "https://exa mple.com/",
    ],
)
def test_odd_urls_and_odd_spellings_of_addresses_are_refused(url: str) -> None:
    with pytest.raises(Blocked):
        target_of(url)


def test_no_line_break_reaches_the_request() -> None:
    target = target_of("https://example.com/a\r\nX-Evil: 1?b\r\n")
    assert not any(c in target.path + target.authority for c in "\r\n ")
