"""App configuration."""

from django.apps import AppConfig


class ReleasesConfig(AppConfig):
    name = "config.releases"
    label = "releases"
    verbose_name = "发布"
