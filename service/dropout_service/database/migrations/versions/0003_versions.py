"""The version of each stored specification, and which versions of the service can work with a schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
works_with = "0002"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("spec_version", sa.Integer, nullable=False, server_default="1"))
    op.create_table("schema_compatibility", sa.Column("works_with", sa.String(32), primary_key=True))


def downgrade() -> None:
    op.drop_table("schema_compatibility")
    op.drop_column("jobs", "spec_version")
