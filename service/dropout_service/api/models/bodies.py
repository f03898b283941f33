"""``RowBody``: a body of rows to predict, in any of its forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from dropout_service.api.arrays.base import BFLOAT16, FLOAT_DTYPES
from dropout_service.api.arrays.json import decode_encoded, decode_numbers
from dropout_service.api.arrays.npy import NPY, decode_npy
from dropout_service.api.arrays.safetensors import SAFETENSORS, decode_safetensors
from dropout_service.api.http.json_objects import read_json_object
from dropout_service.api.http.media_types import ARROW_FILE, ARROW_STREAM, CSV, JSON, OCTETS, PARQUET
from dropout_service.api.models.table_rows import rows_of_columnar, rows_of_csv
from dropout_service.datasets.scan import format_of
from dropout_service.errors import InvalidInputError
from dropout_service.models.rows import Rows, rows_of_array, rows_of_records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from dropout_service.api.state import Limits
    from dropout_service.datasets.dataset import ColumnarFormat, DatasetFormat
    from dropout_service.datasets.reader import Reader
    from dropout_service.training.trained import TrainedModel

__all__ = ["FORMS", "RowBody"]

FORMS: Final = (JSON, CSV, PARQUET, ARROW_FILE, ARROW_STREAM, NPY, SAFETENSORS, OCTETS)
"""The media types of such bodies."""
_COLUMNAR: Final[Mapping[str, ColumnarFormat]] = {PARQUET: "parquet", ARROW_FILE: "arrow", ARROW_STREAM: "arrows"}
_BY_CONTENT: Final[Mapping[DatasetFormat, str]] = {
    "csv": CSV,
    "npy": NPY,
    **{kind: media_type for media_type, kind in _COLUMNAR.items()},
}
_EXAMPLE: Final = '{"records": [{"length": 5.1, "island": "Biscoe"}]} or {"x": [[5.1, 3.5]]}'


@dataclass(frozen=True, slots=True)
class RowBody:
    """Rows to predict as they were sent.

    Parameters
    ----------
    form
        The media type, one of ``FORMS``.
    content
        The bytes.
    """

    form: str
    content: bytes | memoryview

    def rows(self, model: TrainedModel, reader: Reader, limits: Limits) -> tuple[Rows, dict[str, Any]]:
        """Read the rows, and the parameters beside them.

        Parameters
        ----------
        model
            What is to predict.
        reader
            Reads Parquet and Arrow.
        limits
            Bounds of what is read.

        Raises
        ------
        InvalidInputError
            They cannot be read, or the model cannot take them.
        OverBudgetError
            They are too many.
        """
        form = self._found() if self.form == OCTETS else self.form
        if form == JSON:
            fields = read_json_object(bytes(self.content), _EXAMPLE, limits.budgets)
            return _rows_of_json(fields, model), fields
        if form == CSV:
            return rows_of_csv(model, self.content, limits.budgets), {}
        if form in _COLUMNAR:
            self._check_form(_COLUMNAR[form])
            return rows_of_columnar(model, self.content, _COLUMNAR[form], reader, limits), {}
        array, given = self._array(form)
        return rows_of_array(model, array), given

    def _found(self) -> str:
        found = format_of(self.content)
        if found not in _BY_CONTENT:
            raise InvalidInputError(f"the content looks like {found}; send rows as {', '.join(_BY_CONTENT)}")
        return _BY_CONTENT[found]

    def _check_form(self, kind: ColumnarFormat) -> None:
        found = format_of(self.content)
        if found != kind:
            raise InvalidInputError(f"the content is said to be {kind}, but it looks like {found}")

    def _array(self, form: str) -> tuple[NDArray[Any], dict[str, Any]]:
        if form == NPY:
            return _widened(decode_npy(memoryview(self.content), "/x")), {}
        tensors = decode_safetensors(memoryview(self.content))
        if tensors.arrays.keys() != {"x"}:
            found = ", ".join(f"`{name[:40]}`" for name in sorted(tensors.arrays)) or "none"
            raise InvalidInputError.at("/x", f"send the rows to predict as the one tensor `x`; found {found}")
        return _widened(tensors.arrays["x"]), dict(tensors.metadata)


def _rows_of_json(fields: dict[str, Any], model: TrainedModel) -> Rows:
    """Take the rows out of the fields of a body in JSON."""
    if ("x" in fields) == ("records" in fields):
        both = "give the rows once: " if "x" in fields else "give the rows to predict: "
        raise InvalidInputError.at("/records", f"{both}`records` by column name or `x` in order, such as {_EXAMPLE}")
    if "records" in fields:
        records = fields.pop("records")
        if not isinstance(records, list):
            raise InvalidInputError.at("/records", "a list of objects, one for each row")
        return rows_of_records(model, cast("list[Any]", records))
    x = fields.pop("x")
    array = (
        _widened(decode_encoded(x, FLOAT_DTYPES, "/x"))
        if isinstance(x, dict)
        else decode_numbers(x, np.dtype(np.float64), "/x")
    )
    return rows_of_array(model, array)


def _widened(x: NDArray[Any]) -> NDArray[Any]:
    return x.astype(np.float32) if x.dtype == BFLOAT16 else x
