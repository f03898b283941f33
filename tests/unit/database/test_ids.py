from __future__ import annotations

import re
import time

from dropout_service.database.ids import new_id


def test_later_ids_sort_after_earlier_ones_even_within_a_millisecond():
    ids = [new_id("job") for _ in range(2_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_an_id_names_its_kind_and_its_time():
    before_ms = time.time_ns() // 1_000_000
    found = re.fullmatch(r"model_([0-9a-hjkmnp-tv-z]{26})", new_id("model"))
    assert found is not None
    value = 0
    for digit in found[1]:
        value = value << 5 | "0123456789abcdefghjkmnpqrstvwxyz".index(digit)
    assert abs((value >> 80) - before_ms) < 1_000
