"""Encoders of columns: fitted on training rows, kept in the model.

A table's columns reach a training as raw values, float64 with NaN for gaps (see ``RawColumn``), and the network
as what these encoders make of them.
"""

from __future__ import annotations

from dropout_service.training.columns.base import ColumnEncoder, RawColumn
from dropout_service.training.columns.category import CategoryEncoder
from dropout_service.training.columns.encoders import ENCODERS, Encoders
from dropout_service.training.columns.number import NumberEncoder

__all__ = ["ENCODERS", "CategoryEncoder", "ColumnEncoder", "Encoders", "NumberEncoder", "RawColumn"]
