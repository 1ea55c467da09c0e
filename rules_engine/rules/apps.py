"""App configuration."""

from django.apps import AppConfig


class RulesConfig(AppConfig):
    name = "rules_engine.rules"
    label = "rules"
    verbose_name = "规则集"
