"""``Encoders``: from raw rows to what a network reads, column by column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np

from dropout_service.scratch import IN_MEMORY
from dropout_service.training.blocks import RowBlocks, slices
from dropout_service.training.columns.base import RawColumn
from dropout_service.training.columns.category import CategoryEncoder
from dropout_service.training.columns.code import CodeEncoder
from dropout_service.training.columns.date import DateEncoder
from dropout_service.training.columns.number import BooleanEncoder, NumberEncoder
from dropout_service.training.columns.text import TextEncoder
from dropout_service.training.standardization import Standardization

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from dropout_service.scratch import Scratch
    from dropout_service.training.columns.base import ColumnEncoder
    from dropout_service.training.data import TrainingData

    Scaling = Literal["none", "standard", "robust"]

__all__ = ["ENCODERS", "Encoders"]

ENCODERS: Final[Mapping[str, type[ColumnEncoder]]] = {
    kind.kind: kind for kind in (NumberEncoder, BooleanEncoder, CategoryEncoder, CodeEncoder, DateEncoder, TextEncoder)
}
"""The kinds of columns, by their names."""

_BLOCK_CELLS: Final = 1 << 17
"""Cells that are worked at a time, so that they stay in the cache and a large table is never copied as a whole."""


@dataclass(frozen=True, slots=True)
class Encoders:
    """One encoder for each feature, in the order of the features."""

    columns: tuple[ColumnEncoder, ...]

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """What each column that they give is, see ``ColumnEncoder.cardinalities``."""
        return tuple(cardinality for encoder in self.columns for cardinality in encoder.cardinalities)

    @property
    def width(self) -> int:
        """Columns that they give together."""
        return sum(encoder.width for encoder in self.columns)

    @property
    def are_plain(self) -> bool:
        """Whether each column is a number without gaps that is centred and scaled, and no more."""
        return all(isinstance(one, NumberEncoder) and one.is_plain for one in self.columns)

    def feature_of(self, column: int) -> int:
        """Return the index of the feature that one of the encoded columns is of."""
        ends = np.cumsum([encoder.width for encoder in self.columns])
        return int(np.searchsorted(ends, column, side="right"))

    def sparing(self, columns: Sequence[int]) -> Self:
        """Leave numbers as they are whose encoded columns are named: a layer reads them as codes."""
        spared = set(map(self.feature_of, columns))
        return type(self)(
            tuple(
                NumberEncoder(0.0, 1.0, 0.0) if index in spared and isinstance(encoder, NumberEncoder) else encoder
                for index, encoder in enumerate(self.columns)
            )
        )

    @classmethod
    def fit(cls, data: TrainingData, rows: NDArray[np.intp], kinds: Sequence[str], scaling: Scaling) -> Self:
        """Fit an encoder to each feature.

        Parameters
        ----------
        data
            The table.
        rows
            Numbers of the training rows, the only ones that are looked at.
        kinds
            A name of ``ENCODERS`` for each feature.
        scaling
            Of numbers: ``none``, ``standard`` (mean and standard deviation) or ``robust`` (see ``NumberEncoder.fit``).

        Raises
        ------
        InvalidInputError
            Numbers so large that their variance overflows float64.
        """
        numbers = [index for index, kind in enumerate(kinds) if kind == NumberEncoder.kind]
        plain: dict[int, NumberEncoder] = {}
        if scaling != "robust" and numbers:
            plain = _plain(data, rows, numbers, standard=scaling == "standard")
        return cls(
            tuple(
                plain[index]
                if index in plain
                else ENCODERS[kind].fit(RawColumn(data.x[:, index][rows], data.texts[index]))
                for index, kind in enumerate(kinds)
            )
        )

    def encode(
        self,
        x: NDArray[Any],
        labels: Sequence[Sequence[str]] | None = None,
        rows: NDArray[np.intp] | None = None,
        *,
        overflow: Callable[[int], Exception],
        scratch: Scratch = IN_MEMORY,
    ) -> NDArray[np.float32]:
        """Encode raw rows.

        Parameters
        ----------
        x
            Raw values, shape (rows, features), see ``RawColumn``; of any numeric type.
        labels
            For each feature the texts that its values are indices of; ``None`` where no feature has any.
        rows
            Numbers of the rows to encode; ``None`` for all.
        overflow
            Makes the error to raise where values of a feature, by its index, exceed float32.
        scratch
            Makes the array.

        Returns
        -------
        encoded
            Shape (rows, width), C-contiguous.
        """
        count = len(x) if rows is None else rows.size
        encoded = scratch.empty((count, self.width), np.float32)
        tables = [
            _of_each(encoder, texts, scratch) if texts else None
            for encoder, texts in zip(self.columns, labels or [()] * len(self.columns), strict=True)
        ]
        plain = _all_at_once(self.columns)
        finite = np.ones(self.width, np.bool_)
        for block in slices(count, max(64, _BLOCK_CELLS // max(1, len(self.columns)))):
            part, target = x[block if rows is None else rows[block]].astype(np.float64, copy=False), encoded[block]
            with np.errstate(over="ignore", invalid="ignore"):
                if plain is None:
                    self._encode_each(part, tables, target)
                else:
                    target[:] = plain(part)
            finite &= np.isfinite(target).all(axis=0)
        if not finite.all():
            raise overflow(self.feature_of(int(finite.argmin())))
        return encoded

    def _encode_each(
        self, part: NDArray[np.float64], tables: Sequence[NDArray[np.float32] | None], target: NDArray[np.float32]
    ) -> None:
        """Encode rows column by column; a table has what each label is encoded as."""
        begin = 0
        for index, encoder in enumerate(self.columns):
            end = begin + encoder.width
            values, table = part[:, index], tables[index]
            target[:, begin:end] = (
                encoder.encode(RawColumn(values)) if table is None else table[_places(values, len(table) - 1)]
            )
            begin = end

    def to_json(self) -> list[dict[str, Any]]:
        """Return each encoder with its kind as JSON values."""
        return [{"kind": encoder.kind, **encoder.to_json()} for encoder in self.columns]

    @classmethod
    def from_json(cls, fields: Sequence[Mapping[str, Any]]) -> Self:
        """Read what ``to_json`` of this or an earlier version wrote.

        Raises
        ------
        ValueError
            A kind that there is not, or fields that it does not have.
        """
        encoders: list[ColumnEncoder] = []
        for one in fields:
            kind = ENCODERS.get(str(one.get("kind")))
            if kind is None:
                raise ValueError(f"this version has no column of the kind {one.get('kind')!r}")
            try:
                encoders.append(kind.from_json(one))
            except (KeyError, TypeError) as error:
                raise ValueError(f"not the fields of a column of the kind {kind.kind}") from error
        return cls(tuple(encoders))


def _all_at_once(columns: Sequence[ColumnEncoder]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
    """Return what encodes rows of numbers that are centred and scaled and no more, if all are; else ``None``.

    It is what their encoders do one by one, to the last bit; hundreds of columns take a fraction of the time.
    """
    numbers = [one for one in columns if isinstance(one, NumberEncoder) and one.is_plain]
    if len(numbers) < len(columns):
        return None
    center, scale, fill = (np.array([getattr(one, name) for one in numbers]) for name in ("center", "scale", "fill"))

    def encode(part: NDArray[np.float64]) -> NDArray[np.float64]:
        missing = np.isnan(part)
        return ((np.where(missing, fill, part) if missing.any() else part) - center) / scale

    return encode


def _of_each(encoder: ColumnEncoder, labels: Sequence[str], scratch: Scratch) -> NDArray[np.float32]:
    """Encode each text once, and last a gap."""
    encoded = scratch.empty((len(labels) + 1, encoder.width), np.float32)
    for part in slices(len(labels)):
        texts = labels[part]
        encoded[part] = encoder.encode(RawColumn(np.arange(len(texts), dtype=np.float64), texts))
    encoded[-1:] = encoder.encode(RawColumn(np.array([np.nan])))
    return encoded


def _places(values: NDArray[np.float64], gap: int) -> NDArray[np.intp]:
    return np.where(np.isnan(values), gap, values).astype(np.intp)


def _plain(
    data: TrainingData, rows: NDArray[np.intp], numbers: list[int], *, standard: bool
) -> dict[int, NumberEncoder]:
    """Fit the numbers together: means of rows of several columns are summed as they always were, to the last bit."""
    found = [NumberEncoder.unscaled(data.x[:, index][rows]) for index in numbers]
    fitted = Standardization.identity(len(numbers))
    if standard:
        fill = np.array([one.fill for one in found]) if any(one.gaps for one in found) else None
        columns = None if len(numbers) == data.x.shape[1] else numbers
        names = [data.feature_names[index] for index in numbers]
        fitted = Standardization.fit(RowBlocks(data.x, rows, columns, fill), names=names, pointer="/data")
    return {
        index: replace(one, center=float(center), scale=float(scale), fill=one.fill if one.gaps else float(center))
        for index, one, center, scale in zip(numbers, found, fitted.mean, fitted.scale, strict=True)
    }
