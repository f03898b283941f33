"""What one request may allocate and compute.

A request of a hundred bytes can ask for a mask of 20 GB, or for an hour of a core. Each budget bounds one such
multiple; its value is a setting, and it is checked before anything is allocated. Bytes of a body are bounded where
they are read, and what all requests together may take is no matter of this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from dropout_service.errors import Excess, OverBudgetError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Budget", "Budgets"]

Budget = Literal[
    "json_values",
    "mask_elements",
    "columns",
    "cells",
    "npz_bytes",
    "parameters",
    "activations",
    "prediction_cells",
    "prediction_elements",
    "prediction_operations",
]
"""Name of a budget: the field of `Budgets`, and behind ``DROPOUT_SERVICE_MAX_`` the setting."""

_COUNTED: Final[Mapping[Budget, str]] = MappingProxyType(
    {
        "json_values": "values of JSON (numbers, texts, lists, objects)",
        "mask_elements": "elements of a mask",
        "columns": "columns of a table",
        "cells": "cells of a table (rows times columns)",
        "npz_bytes": "bytes of unpacked npz arrays",
        "parameters": "parameters of a network",
        "activations": "activations of a pass (rows times units)",
        "prediction_cells": "cells to predict from (rows times columns of the file)",
        "prediction_elements": "numbers of a prediction (rows times outputs)",
        "prediction_operations": "multiplications of a prediction (rows times samples times size of the network)",
    }
)


@dataclass(frozen=True, slots=True)
class Budgets:
    """The bounds of one request. Defaults suit a machine with two cores and 2 GB, and larger ones.

    Parameters
    ----------
    json_values
        Numbers, texts, lists and objects of a JSON body, asked or answered: each takes up to 80 bytes while it is read
        or written.
    mask_elements
        Booleans of a mask that is returned, or unpacked from bits: a byte each. One that is drawn and not returned has
        no more than the array of the request.
    columns
        Columns of a table: each has a description.
    cells
        Rows times columns of a Parquet or Arrow file, which may unpack to far more than its size.
    npz_bytes
        Arrays of an npz, unpacked: they are read into memory.
    parameters
        Weights, biases and buffers of a network that is to be trained: with gradients, the state of the optimizer and a
        copy, up to 24 bytes each.
    activations
        Units of all layers times the rows of a mini-batch, or of the 1024 rows that validation takes at once: up to 12
        bytes each.
    prediction_cells
        Rows times columns of a Parquet or Arrow file of rows to predict: up to 60 bytes each, where each is another
        text.
    prediction_elements
        Rows times outputs of a prediction: up to 50 bytes each.
    prediction_operations
        Multiplications of a prediction: rows times samples times the weights that are
        multiplied with and 256 for each unit. A core does 5 to 20
        thousand millions a second.
    """

    json_values: int = 1 << 21
    mask_elements: int = 1 << 28
    columns: int = 10_000
    cells: int = 1 << 31
    npz_bytes: int = 1 << 30
    parameters: int = 1 << 25
    activations: int = 1 << 27
    prediction_cells: int = 1 << 24
    prediction_elements: int = 1 << 24
    prediction_operations: int = 1 << 40

    def check(self, budget: Budget, value: int, *, pointer: str = "", remedy: str = "") -> None:
        """Refuse what is above a budget.

        Parameters
        ----------
        budget
            Which one.
        value
            What the request asks for.
        pointer
            JSON pointer of what asks for it, where there is one.
        remedy
            What else the sender can do.

        Raises
        ------
        OverBudgetError
            With the limit, the value and the setting.
        """
        limit: int = getattr(self, budget)
        if value > limit:
            excess = Excess(f"DROPOUT_SERVICE_MAX_{budget.upper()}", limit, value)
            message = f"{value:,} {_COUNTED[budget]}; this service allows {limit:,} ({excess.setting})"
            raise OverBudgetError(f"{message}; {remedy}" if remedy else message, excess, pointer=pointer)
