"""Columns of a table, each kind in its own way; the row ``columns`` of the registry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dropout_service.errors import InvalidInputError
from dropout_service.kernels.streams import Purpose, normal, stream
from dropout_service.kernels.training import columns
from dropout_service.kernels.training.table import Field, Kind, Row
from dropout_service.kernels.variants.parameters import Parameter
from dropout_service.nn.layers.base import NOTHING, Layer, Rows
from dropout_service.nn.layers.kind import LayerKind, Place
from dropout_service.nn.layers.numeric import PERIODIC, PIECEWISE_LINEAR
from dropout_service.nn.layers.rules import NO_DROPOUT
from dropout_service.nn.ops import Op, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from dropout_service.nn.layers.rules import DropoutRule
    from dropout_service.nn.mode import Mode

    Floats = NDArray[np.floating]

__all__ = ["COLUMNS", "MOST_CODES", "Columns"]

MOST_CODES: Final = 1 << 24
"""Integers up to this are exact in float32."""
_NUMBERS: Final = "numbers"
"""Before the names of what the embedding of numbers keeps, with a dot."""
_PLAIN: Final = "plain"
_TABLE_STEP: Final = 2
"""Of the stream of the initial table: 0 and 1 are those of the embedding of numbers."""


class Columns(Layer):
    """The columns of a table side by side: embedded numbers, what is passed on as it is, and embeddings of codes.

    A code is the number of a category, 0 for what is unknown or rare. All codes look up rows of one table, in which
    each column of codes has a part of its own. Rows of the codes 0 are 0 at first, the others N(0, 1), as standardised
    numbers are.

    Parameters
    ----------
    cardinalities
        One for each input: 0 for a number, 1 for what is passed on as it is, such as a zero or one, and otherwise how
        many codes there are: 0, 1, ... below it.
    numbers
        A layer that embeds the numbers, in order; ``None``: they are passed on too.
    dim
        Columns of the table: numbers that a code becomes.
    dtype
        ``float32`` or ``float64``.
    """

    def __init__(
        self, cardinalities: Sequence[int], *, numbers: Layer | None, dim: int, dtype: DTypeLike = np.float32
    ) -> None:
        self._cardinalities = tuple(cardinalities)
        self._numbers, self._dim = numbers, dim
        self.embeds_numbers = numbers is not None
        places = list(enumerate(cardinalities))
        self._embedded = [] if numbers is None else [place for place, kind in places if kind == 0]
        self._plain = [place for place, kind in places if kind == 1 or (kind == 0 and numbers is None)]
        self.codes = tuple(place for place, kind in places if kind > 1)
        self._columns = np.array(self.codes, np.int64)
        self._offsets = np.cumsum([0, *(cardinalities[place] for place in self.codes)])
        self._begin = (0 if numbers is None else numbers.units) + len(self._plain)
        self.units = self._begin + dim * len(self.codes)
        self.shapes = {"table": (int(self._offsets[-1]), dim)} if self.codes else {}
        self.description = {
            "kind": "columns",
            "inputs": len(places),
            "units": self.units,
            "cardinalities": list(cardinalities),
            "embedding_dim": dim,
            "numbers": "plain",
        }
        if numbers is not None:
            self.shapes = {**_below(numbers.shapes), **self.shapes}
            self.buffer_shapes = _below(numbers.buffer_shapes)
            own = {name: value for name, value in numbers.description.items() if name not in self.description}
            self.description |= {**own, "numbers": numbers.description["kind"]}
        self._output = Rows(self.units, dtype)
        self._taken = Rows(len(self._embedded), dtype)
        self._grad_numbers = Rows(0 if numbers is None else numbers.units, dtype)
        self._x = np.empty((0, len(places)), dtype)

    @property
    def multiplications(self) -> int:
        """Multiplications of a row: a table is looked up in, not multiplied with."""
        return 0 if self._numbers is None else self._numbers.multiplications

    @property
    def activations(self) -> int:
        """Numbers that a pass keeps of each row."""
        return self.units + (0 if self._numbers is None else 2 * self._numbers.activations)

    def bind(
        self, params: Mapping[str, Floats], grads: Mapping[str, Floats], buffers: Mapping[str, Floats] = NOTHING
    ) -> None:
        """Take the arrays, those of the numbers for their layer."""
        super().bind(params, grads, buffers)
        if self._numbers is not None:
            self._numbers.bind(*(_above(arrays) for arrays in (params, grads, buffers)))

    def initialize(self, initializer: str, *, seed: int, number: int) -> None:
        """Draw the table and what the numbers need."""
        if self._numbers is not None:
            self._numbers.initialize(initializer, seed=seed, number=number)
        if self.codes:
            table = self.params["table"]
            offset = stream(Purpose.INIT, layer=number, step=_TABLE_STEP)
            table[:] = normal(table.shape, seed=seed, offset=offset)
            table[self._offsets[:-1]] = 0

    def fit(self, column: Callable[[int], Floats]) -> None:
        """Let the layer of the numbers take what it has to know of the training rows."""
        if self._numbers is not None and self._numbers.buffer_shapes:
            self._numbers.fit(lambda number: column(self._embedded[number]))

    def find_fault(self, x: NDArray[np.floating]) -> tuple[int, int, str] | None:
        """Return row, column and what is wrong with the first value that should be a code and is none."""
        for place in self.codes:
            codes, cardinality = x[:, place], self._cardinalities[place]
            with np.errstate(invalid="ignore"):
                wrong = ~((codes >= 0) & (codes < cardinality) & (codes == np.floor(codes)))
            if wrong.any():
                row = int(wrong.argmax())
                return (
                    row,
                    place,
                    f"{float(codes[row]):g} is no code of it; codes are integers from 0 to {cardinality - 1}",
                )
        return None

    def forward(self, x: Floats, mode: Mode, *, differentiable: bool) -> Floats:
        """Return the columns side by side, shape (rows, units); what ``find_fault`` finds counts as code 0."""
        self._x = x
        rows = len(x)
        output, begin = self._output.first(rows), 0
        if self._numbers is not None:
            numbers = np.take(x, self._embedded, axis=1, out=self._taken.first(rows), mode="clip")
            begin = self._numbers.units
            output[:, :begin] = self._numbers.forward(numbers, mode, differentiable=differentiable)
        output[:, begin : self._begin] = x[:, self._plain]
        if self.codes:
            columns.look_up(x, self._columns, self._offsets, self.params["table"], self._begin, output)
        return output

    def backward(self, grad_output: Floats, *, input_gradient: bool) -> Floats | None:
        """Write the gradients of the table and of what the numbers have; codes have none themselves."""
        rows, begin = len(grad_output), 0
        grad_input = np.zeros_like(self._x) if input_gradient else None
        if self.codes:
            columns.add_rows(self._x, self._columns, self._offsets, grad_output, self._begin, self.grads["table"])
        if self._numbers is not None:
            begin = self._numbers.units
            grad = self._grad_numbers.first(rows)
            grad[:] = grad_output[:, :begin]
            by_numbers = self._numbers.backward(grad, input_gradient=input_gradient)
            if grad_input is not None and by_numbers is not None:
                grad_input[:, self._embedded] = by_numbers
        if grad_input is not None:
            grad_input[:, self._plain] = grad_output[:, begin : self._begin]
        return grad_input

    def compiled(self) -> tuple[Row, ...]:
        """Return the rows of the numbers, if they have any, and that of all columns."""
        chosen = {Field.KIND: Kind.SELECT, Field.INPUTS: len(self._cardinalities), Field.UNITS: len(self._embedded)}
        rows = [Row(fields=chosen, columns=tuple(self._embedded))]
        embedded = 0
        if self._numbers is not None:
            own = self._numbers.compiled()
            if not own:
                return ()
            rows += (replace(row, arrays=_of_numbers(row.arrays)) for row in own)
            embedded = self._numbers.units
        offsets = self._offsets.tolist() if self.codes else []
        columns = (len(self._plain), *self._plain, len(self.codes), *self.codes, *offsets)
        fields = {Field.KIND: Kind.COLUMNS, Field.INPUTS: embedded, Field.UNITS: self.units, Field.EACH: self._dim}
        rows.append(Row(fields=fields, arrays={Field.WEIGHT: "table"} if self.codes else {}, columns=columns))
        return tuple(rows)

    def lower(self) -> tuple[Op, ...]:
        """Return the choice of columns, what is done with each kind, and the concatenation as operations."""
        ops: list[Op] = []
        parts: list[str] = []
        if self._numbers is not None:
            ops += [Op("select", ("x",), f"{_NUMBERS}.x", {"columns": tuple(self._embedded)})]
            ops += within(_NUMBERS, self._numbers.lower())
            parts.append(f"{_NUMBERS}.y")
        if self._plain:
            ops.append(Op("select", ("x",), "plain", {"columns": tuple(self._plain)}))
            parts.append("plain")
        if self.codes:
            offsets = tuple(self._offsets[:-1].tolist())
            ops.append(Op("look_up", ("x", "table"), "embedded", {"columns": self.codes, "offsets": offsets}))
            parts.append("embedded")
        return (*ops, Op("concatenate", tuple(parts), "y"))


def _below(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"{_NUMBERS}.{name}": shape for name, shape in shapes.items()}


def _of_numbers(arrays: Mapping[Field, str]) -> dict[Field, str]:
    return {field: f"{_NUMBERS}.{name}" for field, name in arrays.items()}


def _above(arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the arrays of the numbers by their names in the layer that embeds them."""
    own = f"{_NUMBERS}."
    return {name.removeprefix(own): array for name, array in arrays.items() if name.startswith(own)}


_EMBEDDINGS: Final[Mapping[str, LayerKind]] = {kind.name: kind for kind in (PERIODIC, PIECEWISE_LINEAR)}
_OF_NUMBERS: Final = {
    one.name: replace(one, default=None, description=f"where numbers are embedded: {one.description}")
    for kind in _EMBEDDINGS.values()
    for one in kind.parameters
}


def _make(place: Place, parameters: Mapping[str, Any], rule: DropoutRule) -> Columns:
    del rule
    if place.number != 0:
        message = (
            "the columns of the table are its inputs: put it first, and dropout of the inputs behind it as a layer"
        )
        raise InvalidInputError.at("", message)
    cardinalities: list[int] = parameters["cardinalities"] or _of_data(
        place, passes_flags=parameters["flags"] == _PLAIN
    )
    if parameters["cardinalities"] and parameters["flags"]:
        raise InvalidInputError.at(
            "/flags", "`cardinalities` tell it already: 1 is what is passed on; give one of them"
        )
    if len(cardinalities) != place.inputs:
        message = f"{len(cardinalities)} for {place.inputs} inputs; give one for each"
        raise InvalidInputError.at("/cardinalities", message)
    for number, (kind, codes) in enumerate(zip(cardinalities, place.cardinalities, strict=False)):
        if codes > max(1, kind):
            message = (
                f"input {number + 1} has {codes} codes, not {kind}; leave `cardinalities` out to take them as they are"
            )
            raise InvalidInputError.at("/cardinalities", message)
    given = {name: parameters[name] for name in _OF_NUMBERS if parameters[name] is not None}
    kind = _EMBEDDINGS.get(parameters["numbers"])
    if kind is None:
        if given:
            name = next(iter(given))
            message = f"`{name}` is for numbers that are embedded; say how by `numbers`: {', '.join(_EMBEDDINGS)}"
            raise InvalidInputError.at(f"/{name}", message)
        numbers = None
    else:
        own = kind.checked_parameters(given)
        count = cardinalities.count(0)
        numbers = kind.make(replace(place, inputs=count), own, NO_DROPOUT) if count else None
    return Columns(cardinalities, numbers=numbers, dim=parameters["embedding_dim"], dtype=place.dtype)


def _of_data(place: Place, *, passes_flags: bool) -> list[int]:
    """Return the cardinalities that the data have, with flags as numbers unless they are passed on."""
    kinds = place.cardinalities or (0,) * place.inputs
    return [0 if kind == 1 and not passes_flags else kind for kind in kinds]


COLUMNS: Final = LayerKind(
    name="columns",
    computes="y = numbers, embedded or as they are, and for each code its learned row of a table, side by side",
    parameters=(
        Parameter(
            "cardinalities",
            "for each input 0: a number, 1: passed on as it is, more: a code, an integer from 0 (unknown) to below it; "
            "where it is left out, codes are those of columns of the kind `code`, and `flags` tells of the others",
            "integers",
            minimum=0,
            maximum=MOST_CODES,
        ),
        Parameter("embedding_dim", "numbers that a code becomes", "integer", default=8, minimum=1, maximum=1024),
        Parameter(
            "numbers",
            "how numbers are embedded; `plain`: not",
            "text",
            default=_PLAIN,
            choices=(_PLAIN, *_EMBEDDINGS),
        ),
        Parameter(
            "flags",
            "what becomes of zeros and ones that stand for categories, truth values and gaps, where `cardinalities` is "
            "left out: `embedded` (unless said) as numbers are, or `plain`: passed on as they are",
            "text",
            default=None,
            choices=("embedded", _PLAIN),
        ),
        *_OF_NUMBERS.values(),
    ),
    make=_make,
)
