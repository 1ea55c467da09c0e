from typing import ClassVar

from django.db import migrations

from config.tenancy.policies import TrimScopedTables


class Migration(migrations.Migration):
    dependencies: ClassVar = [("orders", "0009_whole_orders")]

    operations: ClassVar = [TrimScopedTables()]
