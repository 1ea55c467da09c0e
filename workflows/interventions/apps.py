"""App configuration."""

from django.apps import AppConfig


class InterventionsConfig(AppConfig):
    name = "workflows.interventions"
    label = "interventions"
    verbose_name = "干预"
