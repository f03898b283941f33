"""What the latest attempt of each job is doing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
works_with = "0002"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("phase", sa.String(16)))


def downgrade() -> None:
    op.drop_column("jobs", "phase")
