from zapd.jobs.keys import key


def test_all_keys_of_a_queue_share_one_hash_tag() -> None:
    assert key("message:send", "jobs", "other") == "other:{q:message:send}:jobs"
    assert key("message:send", "r:5") == "zapd1:{q:message:send}:r:5"
