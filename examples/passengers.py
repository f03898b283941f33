"""A table as people have them: texts, gaps, identifiers. Who survived the Titanic, from the list of its passengers.

Run by ``make demo``. The list is OpenML's 40945 (Harrell and Cason), of which scikit-learn has a copy among its tests.
"""

from __future__ import annotations

import csv
import gzip
import random
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import sklearn
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from dropout_client import ClassPrediction, Client, Dataset
    from dropout_client.spec import ColumnSpec

SOURCE = Path("datasets/tests/data/openml/id_40945/data-v1-dl-16826755.arff.gz")
NUMBERS = {"pclass", "age", "sibsp", "parch", "fare", "body"}
HINDSIGHT = ("boat", "body")
"""Columns that were known only afterwards, and give the answer away."""
ASKED = (
    {"pclass": 1, "sex": "female", "age": 29, "sibsp": 0, "parch": 0, "fare": 80, "cabin": None, "embarked": "C",
     "home.dest": "Paris, France", "name": "Dupont, Mlle. Claire", "ticket": None},
    {"pclass": 3, "sex": "male", "age": None, "sibsp": 0, "parch": 0, "fare": 8, "cabin": None, "embarked": "S",
     "home.dest": None, "name": "Smith, Mr. John", "ticket": None},
    {"pclass": 2, "sex": "female", "age": 4, "sibsp": 1, "parch": 2, "fare": None, "cabin": None, "embarked": "Oslo",
     "home.dest": None, "name": "Hansen, Miss. Ida", "ticket": "A/5 1"},
)  # fmt: skip
"""People who were not aboard, with gaps and with a port that no training row has."""


def passengers() -> tuple[list[str], list[list[str]]]:
    """Read the names of the columns, and the rows."""
    with gzip.open(Path(sklearn.__file__).parent / SOURCE, "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()
    start = next(number for number, line in enumerate(lines) if line.lower().startswith("@data"))
    attributes = [line for line in lines[:start] if line.lower().startswith("@attribute")]
    names = [line.split()[1].strip("\"'") for line in attributes]
    return names, [row for row in csv.reader(lines[start + 1 :], skipinitialspace=True) if row]


def raw(passenger: dict[str, str]) -> dict[str, str | float | None]:
    """Give the cells of a row as a program has them: numbers as such, ``None`` where there is no value."""
    return {name: None if cell == "?" else float(cell) if name in NUMBERS else cell for name, cell in passenger.items()}


def show_report(console: Console, dataset: Dataset) -> None:
    """Show what the service found in each column, and what a training does with it."""
    table = Table(title=f"{dataset.schema.rows:,} passengers, before any training", title_justify="left")
    for name in ("column", "type", "missing", "distinct", "in a training"):
        table.add_column(name, justify="right" if name in {"missing", "distinct"} else "left")
    for column in dataset.schema.columns:
        decision = column.training
        told = "the target" if decision is None else ("" if decision.use else "left out: ") + decision.reason
        table.add_row(column.name, column.type, str(column.missing), str(column.distinct), told)
    console.print(table)


def show_passengers(console: Console, client: Client, folder: Path) -> None:
    """Train on four passengers in five, and predict the fifth, and some who were not aboard."""
    names, rows = passengers()
    target = names.index("survived")
    names, *rows = ([*one[:target], *one[target + 1 :], one[target]] for one in (names, *rows))
    random.Random(0).shuffle(rows)  # noqa: S311 - a split, no secret
    held_out = len(rows) // 5
    path = folder / "passengers.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows[held_out:]])

    dataset = client.datasets.upload(path, missing=["?"])
    show_report(console, dataset)
    hindsight: dict[str, ColumnSpec] = {name: {"use": False} for name in HINDSIGHT}
    job = client.jobs.submit(
        name="passengers",
        task="classification",
        data={"dataset": dataset.id, "columns": hindsight},
    )
    model = job.result()
    others = [dict(zip(names, row, strict=True)) for row in rows[:held_out]]
    prediction = cast("ClassPrediction", model.predict([raw(other) for other in others]))
    survived = np.array([int(row[-1]) for row in rows[:held_out]])
    accuracy = float((np.asarray(prediction.classes) == survived).mean())
    majority = float(max(survived.mean(), 1 - survived.mean()))
    console.print(
        f"\nOf {held_out} other passengers {accuracy:.0%} are told rightly; always telling the more frequent end gives "
        f"{majority:.0%}.\nNothing but the task and the two columns of hindsight was said."
    )
    asked = cast("ClassPrediction", model.predict(list(ASKED), mc_samples=100, seed=1))
    assert asked.probabilities_std is not None
    lived = list(asked.class_labels).index(1)
    for person, mean, std in zip(ASKED, asked.probabilities[:, lived], asked.probabilities_std[:, lived], strict=True):
        age = "of unknown age" if person["age"] is None else f"{person['age']} years old"
        console.print(
            f"{person['name']}, class {person['pclass']}, {age}: would have survived with {mean:.2f}±{std:.2f}"
        )
