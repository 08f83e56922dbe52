from zapd.web.pages import page


def shown(count: int, limit: int) -> dict[str, object]:
    return page(list(range(count)), limit, lambda item: item, str)


def test_a_full_page_without_an_extra_item_is_the_last_one() -> None:
    assert shown(3, 3) == {"data": [0, 1, 2], "next": None}


def test_the_extra_item_is_not_shown_and_makes_a_next() -> None:
    assert shown(4, 3) == {"data": [0, 1, 2], "next": "2"}


def test_nothing_is_a_page_too() -> None:
    assert shown(0, 3) == {"data": [], "next": None}
