"""App configuration."""

from django.apps import AppConfig


class CanvasConfig(AppConfig):
    name = "workflows.canvas"
    label = "canvas"
    verbose_name = "画布"
