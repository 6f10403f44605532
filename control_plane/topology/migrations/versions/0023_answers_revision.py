"""The last change that can change an answer, apart from the last change of what Envoys get."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # An older control plane that still runs does not write these columns. Its writes make
    # edge_revision differ from answers_as_of, and so newer ones see that the columns are void.
    for name in ("answers_revision", "answers_as_of"):
        op.add_column("revisions", sa.Column(name, sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for name in ("answers_revision", "answers_as_of"):
        op.drop_column("revisions", name)
