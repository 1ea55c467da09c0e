from typing import ClassVar

from django.db import migrations

from config.tenancy.policies import TrimScopedTables


class Migration(migrations.Migration):
    dependencies: ClassVar = [("orders", "0004_order_is_watched")]

    operations: ClassVar = [TrimScopedTables()]
