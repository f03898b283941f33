"""The specifications in docs/training.md are valid, and its tables are complete."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dropout_service.kernels.variants import VARIANTS
from dropout_service.nn.layers import LAYERS
from dropout_service.nn.rate_schedules import RATE_SCHEDULES
from dropout_service.training.check import check_spec
from dropout_service.training.spec import TrainingSpec

TEXT = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
BLOCKS: list[dict[str, Any]] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
DROPOUTS: list[dict[str, Any]] = [
    json.loads(code) for code in re.findall(r'`(\{(?:"variant"|"rate").*?\})`', TEXT) if "..." not in code
]
SCHEDULES: list[dict[str, Any]] = [json.loads(code) for code in re.findall(r'`(\{"kind": .*?\})`', TEXT)]


def check(model: dict[str, Any]) -> None:
    spec = TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "d"}, "model": model})
    first = spec.model.layers[0].parameters if spec.model.layers else {}
    check_spec(spec, len(first.get("cardinalities", range(128))))


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_is_a_specification(block: dict[str, Any]):
    if "task" in block:
        check_spec(TrainingSpec.model_validate(block), 128)
    else:
        check(block)


@pytest.mark.parametrize("dropout", DROPOUTS, ids=range(len(DROPOUTS)))
def test_every_dropout_is_valid(dropout: dict[str, Any]):
    model = {"hidden": [128, 128], "dropout": dropout}
    check(model | {"residual": dropout.get("variant") == "drop_path"})


@pytest.mark.parametrize("schedule", SCHEDULES, ids=json.dumps)
def test_every_schedule_is_valid(schedule: dict[str, Any]):
    check({"dropout": {"rate": 0.5, "schedule": schedule}})


def test_every_kind_of_layer_is_documented_with_its_parameters():
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", TEXT, re.MULTILINE))
    for name, kind in LAYERS.items():
        own = {one.name for one in kind.parameters} | ({"dropout"} if kind.drops else set())
        assert own <= set(re.findall(r"`(\w+)`", rows[name]))


def test_every_variant_and_schedule_is_documented():
    assert {"`" + name + "`" for name in VARIANTS} <= set(re.findall(r"`\w+`", TEXT))
    assert {schedule["kind"] for schedule in SCHEDULES} == set(RATE_SCHEDULES)
