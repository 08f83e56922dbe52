"""The diff of a back-test names what differs by its path."""

from zapd.events.backtest import diff


def test_it_names_every_difference_by_its_path() -> None:
    before = {"a": 1, "b": {"c": [1, {"d": 2}]}, "gone": 1}
    after = {"a": 1, "b": {"c": [1, {"d": 3}]}, "new": 2}
    assert diff(before, after) == [
        {"path": "b.c.1.d", "before": 2, "after": 3},
        {"path": "gone", "before": 1},
        {"path": "new", "after": 2},
    ]
    assert diff(before, before) == []
    assert diff([1], [1, 2]) == [{"path": "@", "before": [1], "after": [1, 2]}]
