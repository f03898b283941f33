"""The one door to PyArrow, which ships no types: what goes through it is ``Any``, and has a name here.

Importing it takes a third of a second and 40 MB; so those import this module late who do not always need it.
"""

from __future__ import annotations

from typing import Any, Final

import pyarrow  # noqa: ICN001 - `pa` is the name of what has no types
import pyarrow.compute
import pyarrow.csv

__all__ = ["Batch", "Cells", "arrow_csv", "pa", "pc"]

Cells = Any
"""A ``pyarrow.Array``, of strings where nothing else is said."""
Batch = Any
"""A ``pyarrow.RecordBatch``."""

pa: Final[Any] = pyarrow
pc: Final[Any] = pyarrow.compute
arrow_csv: Final[Any] = pyarrow.csv
