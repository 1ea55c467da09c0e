"""App configuration."""

from django.apps import AppConfig


class RulesConfig(AppConfig):
    name = "rules_engine.rules"
    label = "rules"
    verbose_name = "检查项"

    def ready(self) -> None:
        from config.releases.services import Kind, register_kind
        from rules_engine.facts.tables import KIND as TABLE_KIND
        from rules_engine.rules import table_uses
        from rules_engine.rules.services import KIND, check_rule_set

        register_kind(
            Kind(
                name=KIND,
                label="规则集",
                check=check_rule_set,
                on_published=table_uses.on_rules_published,
            )
        )
        register_kind(
            Kind(
                name=TABLE_KIND,
                label="查找表",
                check=table_uses.check_table,
                on_published=table_uses.on_table_published,
            )
        )
