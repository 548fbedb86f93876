"""One table forgets what does not matter any more, and never what somebody uses; the other one what is oldest."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

from mat_vis_hub._internal.table import Latest, Table


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


class TestLatest:
    def test_keeps_the_thousand_keys_that_were_added_last(self):
        latest = Latest()
        for number in range(1500):
            latest[number] = -number
        assert list(latest) == list(range(500, 1500))
        latest[500] = 0  # the key is not new
        assert len(latest) == 1000

    def test_can_be_filled_by_many_threads_at_once(self):
        latest = Latest()

        def fill(thread: int) -> None:
            for number in range(3000):
                latest[thread, number] = number

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(fill, range(8)))
        assert len(latest) == 1000

    def test_copies_and_pickles(self):
        latest = Latest({"a": 1})
        assert copy.deepcopy(latest) == pickle.loads(pickle.dumps(latest)) == latest
