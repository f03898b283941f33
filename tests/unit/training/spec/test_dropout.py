"""The dropout of a specification: what is accepted, what it is stored as, and how a fault is told."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from dropout_specs import DROPOUTS, SCHEDULES, UNITS, model_with
from pydantic import ValidationError

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.variants import VARIANTS
from dropout_service.nn.rate_schedules import RATE_SCHEDULES
from dropout_service.training.check import check_spec
from dropout_service.training.networks import hidden_dropouts
from dropout_service.training.spec import DropoutSpec, ModelSpec, TrainingSpec

SMALLEST: dict[str, Any] = {"task": "regression", "data": {"dataset": "sha256-0"}}


def faults(model: dict[str, Any]) -> list[tuple[str, str]]:
    """Place, without the names of a union's members, and message of each fault of a model."""
    try:
        check_spec(TrainingSpec.model_validate(SMALLEST | {"model": model}), 1)
    except ValidationError as error:
        places = [
            "/".join(["", *(str(part) for part in fault["loc"] if part not in {"object", "list", "number"})])
            for fault in error.errors()
        ]
        return [(place, fault["msg"]) for place, fault in zip(places, error.errors(), strict=True)]
    except InvalidInputError as error:
        return [(fault.pointer, fault.message) for fault in error.errors]
    return []


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_table_can_be_specified_and_stored(variant: str):
    spec = TrainingSpec.model_validate(SMALLEST | {"model": model_with(variant)})
    text = spec.model_dump_json()
    assert json.loads(text)["model"]["dropout"] == DROPOUTS[variant], "stored as it was written"
    check_spec(spec, UNITS)
    read = TrainingSpec.model_validate_json(text)
    assert read == spec
    assert read.model_dump_json() == text


@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_schedule_can_be_specified_and_stored(kind: str):
    dropout = {"variant": "standard", "rate": 0.4, "schedule": SCHEDULES[kind]}
    spec = TrainingSpec.model_validate(SMALLEST | {"model": {"hidden": [4], "dropout": [dropout]}})
    assert json.loads(spec.model_dump_json())["model"]["dropout"] == [dropout]
    assert TrainingSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_schedules_of_the_schema_are_those_of_the_table():
    schema = DropoutSpec.model_json_schema()
    assert set(SCHEDULES) == set(RATE_SCHEDULES)
    assert set(schema["properties"]["schedule"]["anyOf"][0]["discriminator"]["mapping"]) == set(RATE_SCHEDULES)


def test_the_schema_tells_what_the_table_says():
    schema = DropoutSpec.model_json_schema()
    assert schema["properties"]["variant"]["enum"] == list(VARIANTS)
    own = {one.name: one for variant in VARIANTS.values() for one in variant.parameters if one.kind != "shape"}
    assert set(schema["properties"]) == {"variant", "rate", "schedule", "shape", *own}
    for name, parameter in own.items():
        assert parameter.description in schema["properties"][name]["description"]
        assert schema["properties"][name].get("default") == parameter.default
    assert schema["additionalProperties"] is False
    for variant in VARIANTS.values():
        assert variant.drops in schema["properties"]["variant"]["description"]


@pytest.mark.parametrize("dropout", [0.5, 0, 1, [0.2, 0.5]])
def test_a_stored_number_stays_a_number(dropout: Any):
    model = ModelSpec.model_validate({"hidden": [3, 4], "dropout": dropout, "input_dropout": 0.1})
    stored = json.loads(model.model_dump_json())
    assert stored["dropout"] == dropout
    assert set(stored) == {"hidden", "activation", "dropout", "input_dropout", "initializer"}, "as before the variants"


def test_one_drop_path_for_all_leaves_the_first_layer_alone():
    model = ModelSpec.model_validate(model_with("drop_path") | {"hidden": [12, 12, 12]})
    first, *others = hidden_dropouts(model)
    assert first == 0.0
    assert [one.variant for one in others if isinstance(one, DropoutSpec)] == ["drop_path"] * 2


@pytest.mark.parametrize(
    ("model", "place", "message"),
    [
        ({"dropout": {"rate": 0.5, "variant": "nope"}}, "dropout", "there are standard, feature1d"),
        ({"dropout": {"variant": "gaussian"}}, "dropout/rate", "required"),
        ({"dropout": {"rate": 1.5}}, "dropout/rate", "less than or equal to 1"),
        ({"dropout": {"rate": 0.5, "variant": "locked", "axes": 1}}, "dropout/axes", "takes axis, not axes"),
        ({"dropout": [0.5, {"rate": 0.5, "variant": "gaussian", "axis": 1}]}, "dropout/1/axis", "no parameters of its"),
        ({"dropout": {"rate": 0.5, "noise_shape": [1]}}, "dropout", "for single arrays"),
        ({"dropout": {"rate": 1, "variant": "gaussian"}}, "dropout/rate", "below 1"),
        (
            {"dropout": {"rate": 0.1, "variant": "gaussian", "schedule": {"kind": "linear", "start": 1}}},
            "dropout/schedule/start",
            "below 1",
        ),
        (
            {"dropout": {"rate": 0.1, "variant": "concrete", "schedule": {"kind": "linear"}}},
            "dropout",
            "learns its rate",
        ),
        ({"dropout": {"rate": 0, "variant": "concrete"}}, "dropout/rate", "above 0"),
        ({"dropout": {"rate": 0.1, "schedule": {"kind": "sine"}}}, "dropout/schedule", "curriculum"),
        ({"dropout": {"rate": 0.1, "schedule": {"kind": "early"}}}, "dropout/schedule/early/first_epochs", "required"),
        ({"dropout": [0.1, {"rate": 0.1, "variant": "feature1d"}]}, "dropout/1/shape", r"axes (n, c, l)"),
        ({"dropout": [0.1, {"rate": 0.1, "shape": [0, 3]}]}, "dropout/1/shape/0", "greater than or equal to 1"),
        (
            {"dropout": [0.1, {"rate": 0.1, "variant": "feature1d", "shape": [8, 8]}]},
            "dropout/1/shape",
            "64 units, not 128",
        ),
        ({"dropout": [0.1, {"rate": 0.1, "variant": "drop_path"}]}, "dropout/1", "`residual` true"),
        ({"residual": True, "dropout": [{"rate": 0.1, "variant": "drop_path"}, 0.1]}, "dropout/0", "after the first"),
        (
            {"dropout": {"rate": 0.1, "variant": "feature1d", "shape": [8, 16]}, "hidden": [128, 64]},
            "dropout/shape",
            "hidden layer 2: [8, 16] holds 128 units, not 64",
        ),
        (
            {"dropout": {"rate": 0.1, "shape": [8, 8]}},
            "dropout/shape",
            "hidden layer 1: [8, 8] holds 64 units, not 128",
        ),
        ({"dropout": {"rate": 0.1, "variant": "drop_path"}}, "dropout", "hidden layer 2: `drop_path` drops"),
        (
            {"residual": True, "dropout": {"rate": 0.1, "variant": "drop_path"}, "hidden": [64]},
            "dropout",
            "hidden layer 1: `drop_path` drops",
        ),
        ({"residual": True, "hidden": [4, 5]}, "residual", "one width"),
        ({"input_dropout": {"rate": 0.1, "variant": "dropconnect"}}, "input_dropout", "nothing to drop"),
        ({"input_dropout": {"rate": 0.1, "variant": "feature1d"}}, "input_dropout/shape", r"axes (n, c, l)"),
        ({"input_dropout": {"rate": 0.1, "shape": [65536, 65536]}}, "input_dropout", "at most 1048576"),
        ({"input_dropout": [0.1]}, "input_dropout", "a rate, or an object"),
        ({"dropout": None}, "dropout", "valid number"),
        ({"dropout": [0.1, "half"]}, "dropout/1", "valid number"),
    ],
)
def test_a_fault_is_told_at_its_place(model: dict[str, Any], place: str, message: str):
    ((told, text),) = faults(model)
    assert told == f"/model/{place}"
    assert message in text


@pytest.mark.parametrize("variant", ["standard", "gaussian", "dropblock"])
def test_a_stored_specification_is_read_without_numpy(variant: str):
    """The dispatcher only passes specifications on."""
    text = TrainingSpec.model_validate(SMALLEST | {"model": model_with(variant)}).model_dump_json()
    program = (
        "import sys\n"
        "from dropout_service.training.spec import TrainingSpec\n"
        f"spec = TrainingSpec.model_validate_json({text!r})\n"
        "assert spec.model_dump_json() and not {'numpy', 'numba'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_units_of_the_examples():
    assert ModelSpec.model_validate(model_with("gaussian")).hidden == (UNITS, UNITS)
