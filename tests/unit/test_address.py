"""What the URL of a Redis says."""

import pytest

from zapd.config.address import RedisAddress, redis_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", RedisAddress()),
        ("redis://10.0.0.6:6380/2", RedisAddress(host="10.0.0.6", port=6380, database=2)),
        ("redis://:p%40ss@h", RedisAddress(host="h", password="p@ss")),
        ("redis://ana:pw@[::1]:1?db=7", RedisAddress(host="::1", port=1, username="ana", password="pw", database=7)),
        ("unix:///run/my%20redis.sock?db=1", RedisAddress(path="/run/my redis.sock", database=1)),
        ("unix://:pw@/run/redis.sock", RedisAddress(path="/run/redis.sock", password="pw")),
        ("rediss://h", RedisAddress(host="h", tls=True)),
        (
            "rediss://h?ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=false",
            RedisAddress(host="h", tls=True, ca_file="/ca", cert_file="/c", key_file="/k", check_hostname=False),
        ),
        ("rediss://h?ssl_cert_reqs=none", RedisAddress(host="h", tls=True, verify=False)),
    ],
)
def test_a_url_says_where_it_is(url: str, address: RedisAddress) -> None:
    assert redis_address(url) == address


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://h", "should be"),
        ("redis:h", "should be"),
        ("redis://h:port", "should be"),
        ("redis://h:99999", "should be"),
        ("unix://", "should be"),
        ("redis://h/orders", "number of the database"),
        ("redis://h?db=-1", "number of the database"),
        ("redis://h?ssl_ca_certs=/ca", "ssl_ca_certs; known here: db"),
        ("rediss://h?retries=3", "retries; known here: db, ssl_ca_certs"),
    ],
)
def test_a_url_that_is_none_is_told(url: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        redis_address(url)


def test_the_password_is_in_no_log() -> None:
    assert "secret" not in repr(redis_address("redis://u:secret@h"))
