"""App configuration."""

from django.apps import AppConfig


class ShopsConfig(AppConfig):
    name = "connectors.shops"
    label = "shops"
    verbose_name = "店铺与系统"
