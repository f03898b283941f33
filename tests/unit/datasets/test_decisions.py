from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dropout_service.datasets.decisions import decide
from dropout_service.datasets.inline import from_arrays
from dropout_service.datasets.resolution import resolve
from dropout_service.training.spec import ColumnSpec, TrainingSpec

if TYPE_CHECKING:
    from dropout_service.datasets.dataset import Dataset
    from dropout_service.datasets.registry import DatasetRegistry

ROWS = 40
COLUMNS: dict[str, list[str]] = {
    "row": [str(i + 7) for i in range(ROWS)],
    "name": [f"person {i}" for i in range(ROWS)],
    "city": [("Ulm", "Bonn", "Jena")[i % 3] for i in range(ROWS)],
    "remark": [f"remark {i // 2 * 2 % 38}" for i in range(ROWS)],
    "height": [str(150 + i * 7 % 40) if i % 9 else "" for i in range(ROWS)],
    "member": [("true", "false")[i % 2] for i in range(ROWS)],
    "club": ["chess"] * ROWS,
    "born": [f"19{60 + i}-0{1 + i % 9}-1{i % 10}" for i in range(ROWS)],
    "joined": ["" if i % 4 else f"2024-03-0{1 + i % 9}T10:00:00Z" for i in range(ROWS)],
    "nearly": [f"2024-01-{10 + i % 20}" for i in range(ROWS - 1)] + ["soon"],
    "nothing": [""] * ROWS,
    "y": [str(i % 2) for i in range(ROWS)],
}
SPEC = TrainingSpec.model_validate({"task": "classification", "data": {"dataset": "sha256-0"}})


@pytest.fixture
def people(registry: DatasetRegistry) -> Dataset:
    lines = [",".join(COLUMNS), *(",".join(cells) for cells in zip(*COLUMNS.values(), strict=True))]
    return registry.add_content("\n".join(lines).encode())


def test_each_column_is_decided_with_a_reason(people: Dataset):
    columns = people.schema.columns[:-1]
    decided = {column.name: decide(column, people.schema, people.format) for column in columns}
    assert {name: (decision.use, decision.kind) for name, decision in decided.items()} == {
        "row": (False, "number"),
        "name": (False, "category"),
        "city": (True, "category"),
        "remark": (True, "category"),
        "height": (True, "number"),
        "member": (True, "boolean"),
        "club": (False, "category"),
        "born": (True, "date"),
        "joined": (True, "date"),
        "nearly": (True, "category"),
        "nothing": (False, "number"),
    }
    reasons = {name: decision.reason for name, decision in decided.items()}
    assert reasons["row"] == "identifier: each of the 40 rows has a value of its own"
    assert reasons["city"] == "category: 3 distinct texts"
    assert reasons["height"] == "number; 5 gaps are filled, and a column tells which"
    assert reasons["born"] == "date: each value is one"
    assert reasons["joined"] == "date: each value is one; 30 gaps"
    assert reasons["club"] == "constant: all values are equal"
    assert reasons["nothing"] == "empty: no cell has a value"


def test_what_a_person_chooses_goes_before(people: Dataset):
    def decided(name: str, **chosen: Any) -> tuple[bool, str]:
        column = people.schema.column(name)
        assert column is not None
        decision = decide(column, people.schema, people.format, ColumnSpec(**chosen))
        return decision.use, decision.kind

    assert decided("city", use=False) == (False, "category")
    assert decided("height", kind="category") == (True, "category")
    assert decided("name", kind="text") == (True, "text")
    assert decided("row") == (True, "number")


def test_texts_of_which_most_are_rare_are_text(registry: DatasetRegistry):
    content = "t,y\n" + "".join(f"title {min(i, 299)},{i % 2}\n" for i in range(310))
    dataset = registry.add_content(content.encode())
    decision = decide(dataset.schema.columns[0], dataset.schema, dataset.format)
    assert (decision.use, decision.kind) == (True, "text")
    assert decision.reason == "text: 300 distinct texts, few of them twice"


def test_an_array_is_used_as_it_is(registry: DatasetRegistry):
    dataset = registry.add_content(from_arrays([[float(i), 1.0] for i in range(40)], list(range(40))))
    assert resolve(dataset.schema, dataset.format, SPEC) == SPEC
    decided = [decide(column, dataset.schema, dataset.format) for column in dataset.schema.columns]
    assert all(decision.use and decision.kind == "number" for decision in decided)


def test_the_decisions_are_written_into_the_specification(people: Dataset):
    resolved = resolve(people.schema, people.format, SPEC)
    assert resolved.data.columns == {
        "row": ColumnSpec(kind="number", use=False),
        "name": ColumnSpec(kind="category", use=False),
        "city": ColumnSpec(kind="category"),
        "remark": ColumnSpec(kind="category"),
        "member": ColumnSpec(kind="boolean"),
        "club": ColumnSpec(kind="category", use=False),
        "born": ColumnSpec(kind="date"),
        "joined": ColumnSpec(kind="date"),
        "nearly": ColumnSpec(kind="category"),
        "nothing": ColumnSpec(kind="number", use=False),
    }
    assert resolve(people.schema, people.format, resolved) == resolved


def test_features_that_are_named_are_used_whatever_they_are(people: Dataset):
    spec = TrainingSpec.model_validate(
        {"task": "classification", "data": {"dataset": "sha256-0", "features": ["row", "name", "height"]}}
    )
    assert resolve(people.schema, people.format, spec).data.columns == {"name": ColumnSpec(kind="category")}
