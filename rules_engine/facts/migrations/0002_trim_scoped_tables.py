from typing import ClassVar

from django.db import migrations

from config.tenancy.policies import TrimScopedTables


class Migration(migrations.Migration):
    dependencies: ClassVar = [("facts", "0001_initial")]

    operations: ClassVar = [TrimScopedTables()]
