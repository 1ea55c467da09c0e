from typing import ClassVar

from django.db import migrations

from config.tenancy.policies import TrimScopedTables


class Migration(migrations.Migration):
    dependencies: ClassVar = [("shops", "0002_allowed_address")]

    operations: ClassVar = [TrimScopedTables()]
