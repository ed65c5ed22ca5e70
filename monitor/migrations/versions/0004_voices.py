"""Different voices per bucket: authors, stories and reach."""

import sqlalchemy as sa
from alembic import op

from monitor.tables import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# What the store does for each mention that comes, here for those it has: see monitor/store/voices.py.
BACKFILL = """
INSERT INTO bucket_voices (brand, bucket, authors, stories, reach)
SELECT brand,
       strftime('%Y-%m-%d %H:%M:%S', moment / 300 * 300, 'unixepoch') || '.000000',
       sum(speaks), sum(tells), sum(CASE WHEN speaks THEN points ELSE 0 END)
FROM (
    SELECT brand,
           CAST(strftime('%s', published_at) AS INTEGER) AS moment,
           CASE WHEN author IS NULL THEN 1 ELSE coalesce(
               (julianday(published_at) - julianday(lag(published_at) OVER (
                   PARTITION BY brand, author ORDER BY published_at, id))) * 24 > 6, 1)
           END AS speaks,
           coalesce((julianday(published_at) - julianday(lag(published_at) OVER (
               PARTITION BY brand, story ORDER BY published_at, id))) > 1, 1) AS tells,
           (coalesce(author_followers, 0) >= 1000) + (coalesce(author_followers, 0) >= 10000)
           + (coalesce(author_followers, 0) >= 100000) + (coalesce(author_followers, 0) >= 1000000)
           AS points
    FROM mention
    WHERE counted_as IS NOT NULL
)
WHERE speaks OR tells
GROUP BY 1, 2
"""


def upgrade() -> None:
    op.create_table(
        "bucket_voices",
        sa.Column("brand", sa.String(), nullable=False),
        sa.Column("bucket", UtcDateTime(), nullable=False),
        sa.Column("authors", sa.Integer(), nullable=False),
        sa.Column("stories", sa.Integer(), nullable=False),
        sa.Column("reach", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("brand", "bucket"),
    )
    op.drop_index("ix_mention_author", "mention")
    op.create_index("ix_mention_author", "mention", ["author", "brand", "published_at"])
    op.create_index("ix_mention_story", "mention", ["brand", "story", "published_at"])
    op.execute(BACKFILL)


def downgrade() -> None:
    op.drop_index("ix_mention_story", "mention")
    op.drop_index("ix_mention_author", "mention")
    op.create_index("ix_mention_author", "mention", ["author"])
    op.drop_table("bucket_voices")
