"""The specifications in docs/training.md are valid, and its tables are complete."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dropout_service.kernels.variants import VARIANTS
from dropout_service.nn.rate_schedules import RATE_SCHEDULES
from dropout_service.training.spec import ModelSpec, TrainingSpec

TEXT = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
BLOCKS: list[dict[str, Any]] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
DROPOUTS: list[dict[str, Any]] = [
    json.loads(code) for code in re.findall(r'`(\{(?:"variant"|"rate").*?\})`', TEXT) if "..." not in code
]
SCHEDULES: list[dict[str, Any]] = [json.loads(code) for code in re.findall(r'`(\{"kind": .*?\})`', TEXT)]


@pytest.mark.parametrize("block", BLOCKS, ids=",".join)
def test_every_block_is_a_specification(block: dict[str, Any]):
    if "task" in block:
        TrainingSpec.model_validate(block)
    else:
        ModelSpec.model_validate(block)


@pytest.mark.parametrize("dropout", DROPOUTS, ids=range(len(DROPOUTS)))
def test_every_dropout_is_valid(dropout: dict[str, Any]):
    model = {"hidden": [128, 128], "dropout": dropout}
    ModelSpec.model_validate(model | {"residual": dropout.get("variant") == "drop_path"})


@pytest.mark.parametrize("schedule", SCHEDULES, ids=json.dumps)
def test_every_schedule_is_valid(schedule: dict[str, Any]):
    ModelSpec.model_validate({"dropout": {"rate": 0.5, "schedule": schedule}})


def test_every_variant_and_schedule_is_documented():
    assert {"`" + name + "`" for name in VARIANTS} <= set(re.findall(r"`\w+`", TEXT))
    assert {schedule["kind"] for schedule in SCHEDULES} == set(RATE_SCHEDULES)
