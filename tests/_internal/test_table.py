"""A table forgets what does not matter any more, and never what somebody uses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from mat_vis_hub._internal.table import Table


def test_the_same_key_has_the_same_value():
    table = Table(object, lambda value: False)
    with table.used("a") as one, table.used("a") as same, table.used("b") as other:
        assert one is same
        assert one is not other


def test_values_that_are_over_are_dropped_so_the_table_stays_small():
    table = Table(object, lambda value: True)
    for number in range(1000):
        with table.used(number):
            pass
    assert len(table) <= 3


def test_values_that_still_matter_stay():
    table = Table(list, lambda value: not value)
    for number in range(100):
        with table.used(number) as value:
            value.append(number)
    assert len(table) == 100
    with table.used(7) as value:
        assert value == [7]


def test_a_value_in_use_stays_even_if_it_is_over():
    table = Table(object, lambda value: True)
    with table.used("a") as value:
        for number in range(10):
            with table.used(number):
                pass
        with table.used("a") as same:
            assert same is value


def test_threads_get_the_same_value():
    table = Table(list, lambda value: False)

    def append(number: int) -> None:
        with table.used("a") as value:
            value.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(500)))
    with table.used("a") as value:
        assert sorted(value) == list(range(500))
