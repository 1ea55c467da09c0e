"""App configuration."""

from django.apps import AppConfig


class RulesConfig(AppConfig):
    name = "rules_engine.rules"
    label = "rules"
    verbose_name = "检查项"

    def ready(self) -> None:
        from config.releases.services import Kind, register_kind
        from rules_engine.rules.services import KIND, check_rule_set

        register_kind(Kind(name=KIND, label="规则集", check=check_rule_set))
