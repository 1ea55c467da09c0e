"""When the orders that are here already were first scored: their oldest interval of health."""

from django.db import migrations

FILL = """
UPDATE orders_order SET first_scored_at = (
    SELECT MIN(c.at) FROM scoring_scorechange c
    WHERE c.order_id = orders_order.id AND c.environment_id = orders_order.environment_id
)
"""


class Migration(migrations.Migration):

    dependencies = [
        ("orders", "0014_count_from_indexes"),
        ("scoring", "0004_index_in_trouble_now"),
    ]

    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
