from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest

from dropout_service.budgets import Budget, Budgets
from dropout_service.errors import OverBudgetError
from dropout_service.settings import Settings

NAMES = [field.name for field in fields(Budgets)]


def test_every_budget_has_a_name_for_the_type_checker():
    assert list(get_args(Budget)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_budget_is_a_setting(name: str, monkeypatch: pytest.MonkeyPatch):
    assert Settings().budgets == Budgets()
    monkeypatch.setenv(f"DROPOUT_SERVICE_MAX_{name.upper()}", "123456")
    assert Settings().budgets == Budgets(**{name: 123_456})


@pytest.mark.parametrize("name", NAMES)
def test_what_is_within_a_budget_passes_and_what_is_above_is_told(name: Budget):
    budgets = Budgets(**{name: 1000})
    budgets.check(name, 1000)
    with pytest.raises(OverBudgetError) as caught:
        budgets.check(name, 1001, pointer="/there", remedy="do less")
    assert caught.value.excess.setting == f"DROPOUT_SERVICE_MAX_{name.upper()}"
    assert (caught.value.excess.limit, caught.value.excess.value) == (1000, 1001)
    assert [fault.pointer for fault in caught.value.errors] == ["/there"]
    for told in ("1,001", "1,000", caught.value.excess.setting, "do less"):
        assert told in caught.value.message


def test_numbers_of_any_size_are_compared():
    with pytest.raises(OverBudgetError):
        Budgets().check("mask_elements", 10**400)
