"""App configuration."""

from django.apps import AppConfig


class CanvasConfig(AppConfig):
    name = "workflows.canvas"
    label = "canvas"
    verbose_name = "画布"

    def ready(self) -> None:
        from config.releases.services import Kind, register_kind
        from workflows.canvas.drawing import check_canvas
        from workflows.canvas.services import CANVAS_KIND

        register_kind(Kind(name=CANVAS_KIND, label="画布", check=check_canvas))
