"""App configuration."""

from django.apps import AppConfig


class FactsConfig(AppConfig):
    name = "rules_engine.facts"
    label = "facts"
    verbose_name = "事实"
