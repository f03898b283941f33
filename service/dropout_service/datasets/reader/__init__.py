"""Files of strangers are looked through in processes of their own, which may crash or run out of memory or time."""

from __future__ import annotations

from dropout_service.datasets.reader.process import Reader

__all__ = ["Reader"]
