"""App configuration."""

from django.apps import AppConfig


class TabularConfig(AppConfig):
    name = "connectors.tabular"
    label = "tabular"
    verbose_name = "文件导入"
