from __future__ import annotations

import time
import tracemalloc

import pytest

from dropout_service.api.http.json_objects import read_json_object
from dropout_service.budgets import Budgets
from dropout_service.errors import InvalidInputError, OverBudgetError

BUDGETS = Budgets(json_values=1000)


def read(body: bytes, budgets: Budgets = BUDGETS) -> dict[str, object]:
    return read_json_object(body, '{"x": 1}', budgets)


def test_values_within_the_budget_are_read():
    assert read(b'{"x": [' + b"1," * 900 + b"1]}") == {"x": [1] * 901}
    assert read(b'{"x": "' + b"t" * 5000 + b'"}') == {"x": "t" * 5000}


@pytest.mark.parametrize("item", [b"[]", b"{}", b"1", b'""', b"[[1]]", b'{"a":{}}', b"null"])
def test_values_beyond_the_budget_are_counted_not_parsed(item: bytes):
    body = b'{"x": [' + (item + b",") * 100_000 + b"1]}"
    tracemalloc.start()
    try:
        with pytest.raises(OverBudgetError, match="DROPOUT_SERVICE_MAX_JSON_VALUES"):
            read(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("item", [b"[]", b"{}", b"0.5", b'"a"', b"[1]", b'{"a":1}'])
def test_no_value_takes_more_than_the_settings_say(item: bytes):
    """The bound of memory that a count stands for, whatever is counted."""
    body = b'{"x": [' + (item + b",") * 10_000 + b"1]}"
    with pytest.raises(OverBudgetError) as caught:
        read(body, Budgets(json_values=1024))
    values = caught.value.excess.value
    tracemalloc.start()
    try:
        kept = read(body, Budgets())
        assert tracemalloc.get_traced_memory()[0] < 80 * values
    finally:
        tracemalloc.stop()
    assert len(kept) == 1


@pytest.mark.parametrize("body", [b'{"a": 1, "a": 2}', b'{"b": {"a": 1, "c": 2, "a": 3}}'])
def test_a_name_that_occurs_twice_is_refused(body: bytes):
    with pytest.raises(InvalidInputError, match="twice") as caught:
        read(body)
    assert caught.value.errors[0].pointer == "/a"


@pytest.mark.parametrize("body", ['{"a": {%s}}', "{%s}"])
def test_names_without_end_are_refused_before_each_is_looked_for(body: str):
    content = (body % ", ".join(f'"n{i}": 0' for i in range(200_000))).encode()
    started = time.perf_counter()
    with pytest.raises(InvalidInputError, match="200,000 names"):
        read(content, Budgets())
    assert time.perf_counter() - started < 10  # looking for each took minutes


def test_a_name_among_many_deep_inside_is_found_in_one_pass():
    names = ", ".join(f'"n{i}": 0' for i in range(50_000))
    content = f'{{"a": [{{{names}, "n7": 1}}], "b": "a", "a\\u0062": 0}}'.encode()
    started = time.perf_counter()
    with pytest.raises(InvalidInputError, match="twice") as caught:
        read(content, Budgets())
    assert caught.value.errors[0].pointer == "/n7"
    assert time.perf_counter() - started < 10  # counting each took minutes
