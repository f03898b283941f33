"""What a training is like of which nothing but the task and the data is said.

It looks at the size of the table only; docs/training.md says how it was chosen and what it gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from dropout_service.training.spec import AdamWSpec, ColumnSpec, EarlyStoppingSpec, EnsembleSpec, LayerSpec, ModelSpec
from dropout_service.training.spec.schedules import CosineSchedule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dropout_service.training.spec import TrainingSpec

__all__ = ["fill_in"]

SpecT = TypeVar("SpecT", bound="TrainingSpec")

_FEW_ROWS: Final = 100
"""Of fewer, too few are held out to stop by."""
_ROWS_TO_EMBED: Final = 1000
"""From so many rows on, bins of numbers are better than the numbers alone, and codes than the frequent categories."""
_MOST_EMBEDDED: Final = 256
"""Columns of numbers; more would make a first layer of thousands of units."""
_MANY_ROWS: Final = 20_000
_MEMBERS: Final = 8
_MEMBERS_OF_MANY_ROWS: Final = 4
"""Fewer, because each takes longer, and gives less to add."""
_MOST_INPUTS: Final = 1 << 16
"""Columns that all networks together read: of a wide table fewer are trained, or one."""
_STEPS: Final = 60_000
"""Of the optimizer and of each network, about: a large table is gone through less often."""
_BATCHES: Final = ((1000, 32), (4000, 64), (_MANY_ROWS, 128))
"""Below so many rows, mini-batches of so many."""
_LARGE_BATCH: Final = 256


def fill_in(
    spec: SpecT, *, rows: int, inputs: int | Sequence[int], many_valued: Mapping[str, int] | None = None
) -> SpecT:
    """Choose what a specification that names no ``model`` leaves out; what it says stays.

    Parameters
    ----------
    spec
        As a person gave it; one with a ``model`` is returned as it is.
    rows
        Of the table.
    inputs
        Columns that the network reads: how many, if all are numbers, or what each is, see
        ``ColumnEncoder.cardinalities``.
    many_valued
        Those categories, by name, that have more values than columns, with the number of these: they become codes.
    """
    given = spec.model_fields_set
    if "model" in given:
        return spec
    kinds = [0] * inputs if isinstance(inputs, int) else inputs
    numbers, width = kinds.count(0), len(kinds)
    coded = any(column.kind == "code" for column in (spec.data.columns or {}).values())
    if many_valued and rows >= _ROWS_TO_EMBED:
        codes = {name: ColumnSpec(kind="code") for name in many_valued}
        columns = {**(spec.data.columns or {}), **codes}
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={"columns": columns})})
        width -= sum(columns - 1 for columns in many_valued.values())
        coded = True
    batch_size = spec.batch_size if "batch_size" in given else _batch_size(rows)
    held_out = spec.validation_fraction if "validation_fraction" in given else 0.15
    validates = rows >= _FEW_ROWS and held_out > 0
    ensemble = _ensemble(rows, width, held_out="own" if validates else "shared")
    chosen: dict[str, Any] = {
        "model": _model(rows, numbers, coded=coded, all_numbers=numbers == width).model_copy(
            update={"ensemble": ensemble}
        ),
        "scaling": "robust",
        "optimizer": _optimizer(rows),
        "schedule": CosineSchedule(),
        "epochs": max(10, min(100, _STEPS * batch_size // max(1, rows))),
        "batch_size": batch_size,
    }
    if validates:
        chosen |= {"validation_fraction": held_out, "early_stopping": EarlyStoppingSpec(patience=20)}
    return spec.model_copy(update={name: value for name, value in chosen.items() if name not in given})


def _model(rows: int, numbers: int, *, coded: bool, all_numbers: bool) -> ModelSpec:
    embeds = rows >= _ROWS_TO_EMBED and 0 < numbers <= _MOST_EMBEDDED
    if not embeds and not coded:
        return ModelSpec(hidden=(128, 128), activation="silu", dropout=0.1)
    kind, bins = ("piecewise_linear", {"bins": 32, "units": 8}) if embeds else ("plain", {})
    first = {"kind": kind} if all_numbers and not coded else {"kind": "columns", "numbers": kind, "flags": "plain"}
    dense = LayerSpec.model_validate({"kind": "dense", "units": 128, "activation": "silu", "dropout": 0.1})
    return ModelSpec(layers=(LayerSpec.model_validate({**first, **bins}), dense, dense))


def _ensemble(rows: int, width: int, *, held_out: Literal["shared", "own"]) -> EnsembleSpec | None:
    members = min(_MEMBERS if rows < _MANY_ROWS else _MEMBERS_OF_MANY_ROWS, _MOST_INPUTS // max(1, width))
    return EnsembleSpec(members=members, held_out=held_out) if members > 1 else None


def _optimizer(rows: int) -> AdamWSpec:
    if rows < _ROWS_TO_EMBED:
        return AdamWSpec(learning_rate=1e-3, weight_decay=0.05)
    return AdamWSpec(learning_rate=2e-3, weight_decay=0.01)


def _batch_size(rows: int) -> int:
    return next((size for most, size in _BATCHES if rows < most), _LARGE_BATCH)
