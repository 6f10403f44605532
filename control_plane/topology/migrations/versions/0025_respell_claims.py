"""Claims whose normal value is another today move to it; `cellway db check` lists clashes."""

from alembic import op

from control_plane.topology.storage.spellings import respell

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    respell(op.get_bind(), "migration 0025")


def downgrade() -> None:
    """Leave the claims as they are: an older version reads the new values, too."""
