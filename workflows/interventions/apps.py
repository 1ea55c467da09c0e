"""App configuration."""

from django.apps import AppConfig


class InterventionsConfig(AppConfig):
    name = "workflows.interventions"
    label = "interventions"
    verbose_name = "干预"

    def ready(self) -> None:
        """Let the one function that pushes orders downstream ask who is held."""
        from connectors.systems.downstream import register_hold_check
        from workflows.interventions.holds import list_held

        register_hold_check(list_held)
