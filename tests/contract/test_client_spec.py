"""The typed dictionaries of a specification have the fields and the choices of the service's document."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from dropout_client import spec
from dropout_client.arrays import ArrayLike
from dropout_client.dropout import VariantName
from dropout_service.app import create_app
from dropout_service.settings import Settings

SCHEMAS: dict[str, Any] = create_app(Settings(data_dir=Path("unused"))).openapi()["components"]["schemas"]
MATCHES: dict[type, tuple[str, ...]] = {
    spec.ColumnSpec: ("ColumnSpec",),
    spec.DataSpec: ("DataSpec",),
    spec.DropoutSpec: ("DropoutSpec",),
    spec.EarlyStoppingSpec: ("EarlyStoppingSpec",),
    spec.EnsembleSpec: ("EnsembleSpec",),
    spec.JobRequest: ("JobRequest",),
    spec.ModelSpec: ("ModelSpec",),
    spec.OptimizerSpec: ("SGDSpec", "AdamSpec", "AdamWSpec"),
    spec.RateScheduleSpec: ("ConstantRate", "LinearRate", "CurriculumRate", "EarlyRate", "LateRate"),
    spec.ScheduleSpec: ("ConstantSchedule", "StepSchedule", "ExponentialSchedule", "CosineSchedule"),
    spec.TrainingSpec: ("TrainingSpec",),
}
LOCAL = {spec.DataSpec: {"file"}}
"""Fields of the client alone, which uploads what they name."""

IMPORTED = {
    "ArrayLike": ArrayLike,
    "Mapping": Mapping,
    "Path": Path,
    "Sequence": Sequence,
    "VariantName": VariantName,
}
"""What the annotations name and the module imports for type checkers only."""

each_match = pytest.mark.parametrize(
    ("typed", "names"), MATCHES.items(), ids=lambda it: it.__name__ if isinstance(it, type) else "-".join(it)
)


def test_every_typed_dictionary_is_compared():
    assert {one.__name__ for one in MATCHES} == set(spec.__all__)


@each_match
def test_the_fields_are_those_of_the_service(typed: type, names: tuple[str, ...]):
    told = {field for name in names for field in SCHEMAS[name]["properties"]}
    assert set(typed.__annotations__) == told | LOCAL.get(typed, set())


@each_match
def test_the_choices_are_those_of_the_service(typed: type, names: tuple[str, ...]):
    properties = [SCHEMAS[name]["properties"] for name in names]
    for field, annotation in get_type_hints(typed, localns=IMPORTED).items():
        told = {choice for one in properties for choice in choices(one.get(field, {}))}
        assert literals(annotation) == told, field


def choices(schema: dict[str, Any]) -> set[str]:
    if "const" in schema:
        return {schema["const"]}
    return set(schema.get("enum", ())) | {choice for one in schema.get("anyOf", ()) for choice in choices(one)}


def literals(annotation: Any) -> set[str]:
    if get_origin(annotation) in {types.UnionType, Union}:
        return {choice for one in get_args(annotation) for choice in literals(one)}
    return set(get_args(annotation)) if get_origin(annotation) is Literal else set()
