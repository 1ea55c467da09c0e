"""App configuration."""

from django.apps import AppConfig


class RollupConfig(AppConfig):
    name = "workflows.rollup"
    label = "rollup"
    verbose_name = "汇总"
