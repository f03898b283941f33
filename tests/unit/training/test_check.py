"""What fits together: layers, their dropout, and the features."""

from __future__ import annotations

from typing import Any

import pytest

from dropout_service.errors import InvalidInputError
from dropout_service.training.check import check_spec
from dropout_service.training.spec import TrainingSpec

DENSE = {"kind": "dense", "units": 8}


def spec(**model: Any) -> TrainingSpec:
    return TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "d"}, "model": model})


def faults(features: int = 4, **model: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInputError) as caught:
        check_spec(spec(**model), features)
    return [(fault.pointer, fault.message) for fault in caught.value.errors]


@pytest.mark.parametrize(
    ("layers", "place", "message"),
    [
        ([{"kind": "conv"}], "0/kind", "there is no layer `conv`; there are dense, dropout"),
        ([{"kind": "dense"}], "0/units", 'layer "dense" needs units'),
        ([DENSE | {"units": 0}], "0/units", "from 1 to 65536, not 0"),
        ([DENSE | {"units": 8.0}], "0/units", "from 1 to 65536, not 8.0"),
        ([DENSE | {"unit": 8}], "0/unit", 'layer "dense" takes units, activation, residual, not unit'),
        ([DENSE, DENSE | {"activation": "softplus"}], "1/activation", "one of relu, gelu, tanh, sigmoid, selu"),
        ([DENSE | {"activation": 3}], "0/activation", "not 3"),
        ([DENSE, DENSE | {"residual": 1}], "1/residual", "true or false, not 1"),
        ([DENSE | {"residual": True}], "0/residual", "as many units as there are inputs, 4, not 8"),
        ([DENSE | {"dropout": {"variant": "nope", "rate": 0.1}}], "0/dropout", "there is no variant `nope`"),
        ([DENSE | {"dropout": {"rate": 0.1, "shape": [3, 3]}}], "0/dropout/shape", "9 units, not 8"),
        ([DENSE | {"dropout": {"variant": "drop_path", "rate": 0.1}}], "0/dropout", "`residual` true"),
        ([DENSE, {"kind": "dropout", "dropout": {"variant": "dropconnect", "rate": 0.1}}], "1/dropout", "of its own"),
        ([{"kind": "dropout", "dropout": {"variant": "drop_path", "rate": 0.1}}], "0/dropout", "at the inputs"),
        ([{"kind": "dropout", "rate": 0.1}], "0/rate", "takes no parameters of its own, not rate"),
    ],
)
def test_a_fault_of_a_layer_is_told_at_its_place(layers: list[dict[str, Any]], place: str, message: str):
    ((pointer, text),) = faults(layers=layers)
    assert pointer == f"/model/layers/{place}"
    assert message in text


def test_faults_of_several_dropouts_are_told_together():
    nope = {"variant": "nope", "rate": 0.1}
    told = faults(dropout=[nope, {"variant": "gaussian", "rate": 1}], input_dropout=nope)
    assert [pointer for pointer, _ in told] == ["/model/dropout/0", "/model/dropout/1/rate", "/model/input_dropout"]


def test_the_layout_of_the_inputs_is_that_of_the_features():
    laid_out = {"variant": "feature1d", "rate": 0.1, "shape": [2, 3]}
    check_spec(spec(input_dropout=laid_out), 6)
    ((pointer, message),) = faults(7, input_dropout=laid_out)
    assert (pointer, message) == ("/model/input_dropout/shape", "[2, 3] holds 6 units, not 7")


def test_mini_batches_of_one_row_have_no_statistics():
    body = {"task": "regression", "data": {"dataset": "d"}, "model": {"layers": [DENSE, {"kind": "batch_norm"}]}}
    check_spec(TrainingSpec.model_validate(body | {"batch_size": 2}), 4)
    with pytest.raises(InvalidInputError, match="`batch_norm` takes the deviation of a mini-batch") as caught:
        check_spec(TrainingSpec.model_validate(body | {"batch_size": 1}), 4)
    assert caught.value.errors[0].pointer == "/batch_size"


def test_a_residual_layer_may_lead_past_the_first_where_widths_agree():
    check_spec(spec(layers=[DENSE | {"residual": True, "dropout": {"variant": "drop_path", "rate": 0.1}}]), 8)
