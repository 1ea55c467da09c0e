from typing import ClassVar

from django.db import migrations

from config.tenancy.policies import TrimScopedTables


class Migration(migrations.Migration):
    dependencies: ClassVar = [("tabular", "0002_stored_file_profile")]

    operations: ClassVar = [TrimScopedTables()]
