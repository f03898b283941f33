"""What decides the numbers of a training, whatever version wrote it down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dropout_service.training.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropout_service.training.data import TrainingData
    from dropout_service.training.spec import TrainingSpec

    MakeData = Callable[..., TrainingData]
    MakeSpec = Callable[..., TrainingSpec]

BASE: dict[str, Any] = {
    "task": "regression",
    "model": {"hidden": [6, 5], "dropout": 0.3},
    "epochs": 4,
    "batch_size": 8,
    "seed": 3,
}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, {}),
        ({"name": "n", "max_runtime_s": 9.0, "data": {"dataset": "sha256-1"}}, {}),
        ({"threads": 1, "optimizer": {"kind": "adam", "learning_rate": 0.001}, "loss": "auto"}, {}),
        ({"epochs": 7}, {"epochs": 7}),
        ({"optimizer": {"kind": "sgd"}}, {"optimizer": {"kind": "sgd"}}),
        ({"optimizer": {"kind": "adam", "learning_rate": 0.1}}, {"optimizer": {"kind": "adam", "learning_rate": 0.1}}),
        (
            {"model": {"dropout": [0.1, {"rate": 0.2, "variant": "locked", "axis": 1}]}},
            {"model": {"dropout": [0.1, {"rate": 0.2, "variant": "locked", "axis": 1}]}},
        ),
        (
            {"model": {"layers": [{"kind": "dense", "units": 3, "dropout": 0.0}]}},
            {"model": {"layers": [{"kind": "dense", "units": 3}]}},
        ),
    ],
)
def test_a_specification_counts_by_what_it_says_beyond_the_defaults(
    make_data: MakeData, make_spec: MakeSpec, fields: dict[str, Any], says: dict[str, Any]
):
    assert Identity.of(make_spec(**fields), make_data()).spec == BASE | says


def test_a_difference_is_told_in_words(make_data: MakeData, make_spec: MakeSpec):
    identity = Identity.of(make_spec(), make_data())
    same = identity.to_json()
    assert identity.difference(same) is None
    assert identity.difference(same | {"spec": BASE | {"seed": 4, "later": 1}}) == (
        "another specification (`later`, `seed`)"
    )
    other = Identity.of(make_spec(), make_data(rows=41)).to_json()
    assert identity.difference(other) == "other data"
    told = identity.difference(other | {"generator": "dice"})
    assert told == f"other data and another generator (dice, not {identity.generator})"


def test_other_labels_are_other_data(make_data: MakeData, make_spec: MakeSpec):
    spec, data = make_spec(task="classification"), make_data(classes=2)
    renamed = type(data)(data.x, data.y, data.feature_names, data.target_name, ("a", "b"))
    assert Identity.of(spec, data).difference(Identity.of(spec, renamed).to_json()) == "other data"
