"""Row-level security as a migration operation (PostgreSQL; nothing happens on SQLite).

`SecureTables()` goes at the end of every migration that creates scoped tables. For each model of
the app with a `tenant` it forces row-level security with a policy on `tenant_id`, and for each
foreign key between two environment-scoped tables it adds a composite key
`(environment_id, x_id) -> (environment_id, id)`, so that a reference across environments is
impossible in the schema. tests/config/test_schema.py checks every table.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import migrations

POLICY = "hedao_tenant"
# nullif: before any scope was set the setting is '' or NULL, which must mean "no rows", not an error.
# The sub-select is evaluated once per statement: current_setting() for each of 100,000 rows costs
# more than reading them.
_CONDITION = "tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::bigint)"

# Tables without a policy, each with its reason. tests/config/test_schema.py reads this table.
TABLES_WITHOUT_POLICY: dict[str, str] = {
    "tenancy_tenant": "directory: read before a scope is known",
    "tenancy_division": "directory: read before a scope is known",
    "tenancy_environment": "directory: the minute tick walks all environments",
    "tenancy_user": "directory: login precedes the scope",
    "tenancy_user_groups": "Django's own, unused",
    "tenancy_user_user_permissions": "Django's own, unused",
    "tenancy_scopekey": "directory: a token is looked up by its hash before a scope is known",
    "auth_group": "Django's own, unused",
    "auth_group_permissions": "Django's own, unused",
    "auth_permission": "Django's own list of models",
    "django_admin_log": "written by the admin only; our record is audit_auditentry",
    "django_content_type": "Django's own list of models",
    "django_migrations": "Django's own",
    "django_session": "opaque keys; holds the id of the user and of the chosen environment",
    "axes_accessattempt": "login failures, before a scope is known",
    "axes_accessattemptexpiration": "login failures, before a scope is known",
    "axes_accessfailurelog": "login failures, before a scope is known",
    "axes_accesslog": "logins, before a scope is known",
}


def _is_scoped(model: Any, field: str) -> bool:
    return any(f.name == field for f in model._meta.local_fields)


class SecureTables(migrations.operations.base.Operation):
    """Policies and composite foreign keys for the scoped models of the migrating app."""

    reversible = True
    reduces_to_sql = False

    def __init__(self, *models: str) -> None:
        self.models = models

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return self.__class__.__name__, list(self.models), {}

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Nothing changes in the state."""

    def database_backwards(self, *args: Any) -> None:
        """The tables go, and their policies with them."""

    def database_forwards(
        self, app_label: str, editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if editor.connection.vendor != "postgresql":
            return
        role = editor.quote_name(settings.APPLICATION_ROLE)
        for model in to_state.apps.get_app_config(app_label).get_models():
            table, name = model._meta.db_table, model.__name__
            if self.models and name not in self.models:
                continue
            quoted = editor.quote_name(table)
            editor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {quoted} TO {role}")
            if table in TABLES_WITHOUT_POLICY or not _is_scoped(model, "tenant"):
                continue
            editor.execute(f"ALTER TABLE {quoted} ENABLE ROW LEVEL SECURITY")
            editor.execute(f"ALTER TABLE {quoted} FORCE ROW LEVEL SECURITY")
            editor.execute(
                f"CREATE POLICY {POLICY} ON {quoted} USING ({_CONDITION}) WITH CHECK ({_CONDITION})"
            )
        # Models that are later in the same migration must exist before keys point at them.
        for model in to_state.apps.get_app_config(app_label).get_models():
            if (not self.models or model.__name__ in self.models) and _is_scoped(
                model, "environment"
            ):
                self._add_composite_keys(editor, model)

    def _add_composite_keys(self, editor: Any, model: Any) -> None:
        table = model._meta.db_table
        for field in model._meta.local_fields:
            target = getattr(field, "related_model", None)
            if (
                target is None
                or field.name in {"tenant", "environment"}
                or not _is_scoped(target, "environment")
                or target._meta.db_table in TABLES_WITHOUT_POLICY
            ):
                continue
            parent = target._meta.db_table
            editor.execute(
                f"CREATE UNIQUE INDEX IF NOT EXISTS {editor.quote_name(f'{parent}_scope_uq'[:60])} "
                f"ON {editor.quote_name(parent)} (environment_id, id)"
            )
            editor.execute(
                f"ALTER TABLE {editor.quote_name(table)} ADD CONSTRAINT "
                f"{editor.quote_name(f'{table}_{field.column}_scope'[:60])} "
                f"FOREIGN KEY (environment_id, {editor.quote_name(field.column)}) "
                f"REFERENCES {editor.quote_name(parent)} (environment_id, id) "
                f"DEFERRABLE INITIALLY DEFERRED"
            )

    def describe(self) -> str:
        return "Force row-level security and scope foreign keys"


class TrimScopedTables(migrations.operations.base.Operation):
    """Drop what every insert paid for and nothing needed, on all environment tables of an app.

    The single indexes on tenant and environment. On PostgreSQL also the plain foreign keys that
    another rule implies: beside a composite key the plain one on the same column; and where such
    a key is never null, those on environment (the parent's row has one) and tenant (the row
    policy admits the tenant in force only). Plain SQL instead of AlterField, which would copy
    every table on SQLite.
    """

    reversible = True
    reduces_to_sql = False

    def _models(self, app_label: str, state: Any) -> list[Any]:
        return [
            model
            for model in state.apps.get_app_config(app_label).get_models()
            if _is_scoped(model, "tenant") and _is_scoped(model, "environment")
        ]

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Both fields lose their index.

        Read from the models' states, and all of them changed before models are built anew: each
        change through `alter_field` builds every related model, which is nearly all.
        """
        changed = set()
        for (label, model_name), model in state.models.items():
            if label != app_label or not {"tenant", "environment"} <= model.fields.keys():
                continue
            for name in ("tenant", "environment"):
                field = model.fields[name] = model.fields[name].clone()
                field.db_index = False
            changed.add((label, model_name))
        state.reload_models(changed, delay=False)

    def database_backwards(self, *args: Any) -> None:
        """Nothing that is read depends on them."""

    def database_forwards(
        self, app_label: str, editor: Any, from_state: Any, to_state: Any
    ) -> None:
        for model in self._models(app_label, from_state):
            table = editor.quote_name(model._meta.db_table)
            with editor.connection.cursor() as cursor:
                rules = editor.connection.introspection.get_constraints(
                    cursor, model._meta.db_table
                )
            implied = self._implied(model, rules)
            for name, rule in rules.items():
                columns = rule["columns"]
                if rule["foreign_key"] and len(columns) == 1 and columns[0] in implied:
                    editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {editor.quote_name(name)}")
                is_scope = columns in (["tenant_id"], ["environment_id"])
                if is_scope and rule["index"] and not rule["unique"]:
                    editor.execute(f"DROP INDEX {editor.quote_name(name)}")

    @staticmethod
    def _implied(model: Any, rules: dict[str, Any]) -> set[str]:
        """Columns whose plain foreign key says nothing that a composite one does not say."""
        paired = {
            rule["columns"][1]
            for rule in rules.values()
            if rule["foreign_key"] and len(rule["columns"]) == 2
        }
        if any(f.column in paired and not f.null for f in model._meta.local_fields):
            return paired | {"tenant_id", "environment_id"}
        return paired

    def describe(self) -> str:
        return "Drop unused single indexes and implied foreign keys of scoped tables"


class RenewPolicies(migrations.operations.base.Operation):
    """Give the policies that exist today's condition (tables made later get it at once)."""

    reversible = True
    reduces_to_sql = False

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Nothing changes in the state."""

    def database_backwards(self, *args: Any) -> None:
        """Both conditions mean the same."""

    def database_forwards(
        self, app_label: str, editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if editor.connection.vendor != "postgresql":
            return
        with editor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_policies"
                " WHERE policyname = %s",
                [POLICY],
            )
            tables = [row[0] for row in cursor.fetchall()]
        for table in tables:
            editor.execute(
                f"ALTER POLICY {POLICY} ON {table} USING ({_CONDITION}) WITH CHECK ({_CONDITION})"
            )

    def describe(self) -> str:
        return "Renew the condition of the row policies"


class CreateApplicationRole(migrations.operations.base.Operation):
    """The role the application runs as, and its rights on what exists and what will."""

    reversible = True
    reduces_to_sql = False

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Nothing changes in the state."""

    def database_backwards(self, *args: Any) -> None:
        """The role may serve other databases and stays."""

    def database_forwards(
        self, app_label: str, editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if editor.connection.vendor != "postgresql":
            return
        role = settings.APPLICATION_ROLE
        quoted = editor.quote_name(role)
        with editor.connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE ROLE {quoted} NOLOGIN NOSUPERUSER NOBYPASSRLS")
            cursor.execute("SELECT current_user")
            cursor.execute(f"GRANT {quoted} TO {editor.quote_name(cursor.fetchone()[0])}")
            cursor.execute(f"GRANT USAGE ON SCHEMA public TO {quoted}")
            for what in ("TABLES", "SEQUENCES"):
                rights = (
                    "SELECT, INSERT, UPDATE, DELETE"
                    if what == "TABLES"
                    else "USAGE, SELECT, UPDATE"
                )
                cursor.execute(f"GRANT {rights} ON ALL {what} IN SCHEMA public TO {quoted}")
                cursor.execute(
                    f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rights} ON {what} TO {quoted}"
                )

    def describe(self) -> str:
        return "Create the application's database role"
