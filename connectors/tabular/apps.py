"""App configuration."""

from django.apps import AppConfig


class TabularConfig(AppConfig):
    name = "connectors.tabular"
    label = "tabular"
    verbose_name = "文件导入"

    def ready(self) -> None:
        """Make column mappings documents of the release machine (export, import, promotion)."""
        from config.releases.services import Kind, register_kind
        from connectors.tabular.mapping import MAPPING_KIND, check_mapping

        register_kind(Kind(name=MAPPING_KIND, label="列映射", check=check_mapping))
