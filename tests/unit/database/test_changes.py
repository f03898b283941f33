from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from dropout_service.database.changes import ChangeDetector
from dropout_service.database.engine import open_database, reading, writing

if TYPE_CHECKING:
    from pathlib import Path


def test_a_commit_is_noticed_once_and_a_read_or_a_rollback_is_not(tmp_path: Path):
    engine = open_database(f"sqlite:///{tmp_path}/changes.db")
    with ChangeDetector(engine) as changes:
        assert changes.changed()
        assert not changes.changed()
        with writing(engine) as connection:
            connection.execute(text("CREATE TABLE t (x)"))
            assert not changes.changed()
        assert changes.changed()
        assert not changes.changed()
        with reading(engine) as connection:
            connection.execute(text("SELECT * FROM t"))
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
            connection.rollback()
        assert not changes.changed()
    engine.dispose()
