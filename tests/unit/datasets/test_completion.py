"""What a job is trained with of which nothing but the task and the table is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dropout_service.budgets import Budgets
from dropout_service.datasets.loading import check
from dropout_service.datasets.resolution import complete
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from dropout_service.datasets.dataset import Dataset
    from dropout_service.datasets.registry import DatasetRegistry

ROWS, SHOPS = 1200, 80


@pytest.fixture
def shops(registry: DatasetRegistry) -> Dataset:
    lines = [f"shop {i % SHOPS},{['in', 'out'][i % 2]},{i % 11},{i % 7}" for i in range(ROWS)]
    return registry.add_content("\n".join(["shop,door,size,takings", *lines]).encode())


def completed(dataset: Dataset, **data: Any) -> TrainingSpec:
    spec = TrainingSpec.model_validate({"task": "regression", "data": {"dataset": dataset.id, **data}})
    filled_in = complete(dataset.schema, dataset.format, spec)
    check(dataset.schema, filled_in, Budgets())
    return filled_in


def kinds(spec: TrainingSpec) -> dict[str, str | None]:
    return {name: column.kind for name, column in (spec.data.columns or {}).items()}


def test_a_category_of_many_values_is_embedded(shops: Dataset):
    spec = completed(shops)
    assert kinds(spec) == {"shop": "code", "door": "category"}
    assert [layer.kind for layer in spec.model.layers or ()] == ["columns", "dense", "dense"]
    assert complete(shops.schema, shops.format, spec) == spec


def test_what_a_person_says_of_it_stays(shops: Dataset):
    spec = completed(shops, columns={"shop": {"kind": "category"}})
    assert kinds(spec) == {"shop": "category", "door": "category"}
    assert [layer.kind for layer in spec.model.layers or ()] == ["columns", "dense", "dense"]
