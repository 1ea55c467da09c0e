from typing import ClassVar

from django.db import migrations

from config.tenancy.policies import RenewPolicies


class Migration(migrations.Migration):
    dependencies: ClassVar = [("tenancy", "0001_initial")]

    operations: ClassVar = [RenewPolicies()]
