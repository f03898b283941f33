"""``complete`` and ``resolve``: what a specification leaves open about a table, decided and written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from dropout_service.datasets.choice import choose, no_column
from dropout_service.datasets.decisions import decide
from dropout_service.errors import FieldError, InvalidInputError, pointer_to
from dropout_service.training.recipe import fill_in
from dropout_service.training.spec import ColumnSpec

if TYPE_CHECKING:
    from collections.abc import Collection

    from dropout_service.datasets.dataset import DatasetFormat, TableSchema
    from dropout_service.training.spec import TrainingSpec

__all__ = ["complete", "resolve"]

SpecT = TypeVar("SpecT", bound="TrainingSpec")

_MOST_FAULTS: Final = 20


def resolve(schema: TableSchema, format: DatasetFormat, spec: SpecT) -> SpecT:  # noqa: A002 - the field's word
    """Write down how each column is used, so that whoever trains it later uses it the same way.

    Parameters
    ----------
    schema, format
        Of the dataset.
    spec
        As a person gave it. Its `columns` go before what `decide` suggests; what `features` names is used.

    Returns
    -------
    spec
        The same with `columns` of all features that are not simply numbers, and of those that are left out.

    Raises
    ------
    InvalidInputError
        `columns` names what is no feature, with a pointer.
    """
    chosen, named = spec.data.columns or {}, spec.data.features
    targets = spec.data.target if isinstance(spec.data.target, tuple) else (spec.data.target or schema.target,)
    no_features = {*targets, spec.data.weight}
    faults = [
        FieldError(pointer_to(("data", "columns", name)), message)
        for name, message in ((name, _not_a_feature(name, schema, no_features, spec)) for name in chosen)
        if message is not None
    ]
    if faults:
        raise InvalidInputError(faults[0].message, errors=faults[:_MOST_FAULTS])
    columns: dict[str, ColumnSpec] = {}
    for column in schema.columns:
        if column.name in no_features or (named is not None and column.name not in named):
            continue
        decision = decide(column, schema, format, chosen.get(column.name), targets=targets)
        use = decision.use or named is not None
        if not use or decision.kind != "number":
            columns[column.name] = ColumnSpec(kind=decision.kind, use=use)
    return spec.model_copy(update={"data": spec.data.model_copy(update={"columns": columns or None})})


def complete(schema: TableSchema, format: DatasetFormat, spec: SpecT) -> SpecT:  # noqa: A002 - the field's word
    """Write down how each column is used, and where no model is named what the recipe chooses.

    Parameters
    ----------
    schema, format, spec
        As for ``resolve``.

    Raises
    ------
    InvalidInputError
        As ``resolve`` and ``choose``.
    """
    resolved = resolve(schema, format, spec)
    choice = choose(schema, resolved)
    said = {name for name, column in (spec.data.columns or {}).items() if column.kind is not None}
    many_valued = {name: columns for name, columns in choice.many_valued.items() if name not in said}
    return fill_in(resolved, rows=schema.rows, inputs=choice.cardinalities, many_valued=many_valued)


def _not_a_feature(
    name: str, schema: TableSchema, no_features: Collection[str | None], spec: TrainingSpec
) -> str | None:
    if schema.column(name) is None:
        return no_column(schema, name)
    if name in no_features:
        return f"`{name}` is the target or the weight; `columns` is for features"
    if spec.data.features is None:
        return None
    named = name in spec.data.features
    if not named:
        return f"`{name}` is not among `features`"
    chosen = (spec.data.columns or {})[name]
    return None if chosen.use else f"`{name}` is among `features`; leave it out there"
