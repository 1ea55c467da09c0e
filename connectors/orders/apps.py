"""App configuration."""

from typing import Any

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "connectors.orders"
    label = "orders"
    verbose_name = "订单"

    def ready(self) -> None:
        from config.releases.services import Kind, register_kind
        from connectors.orders.nodes import nodes_from_content, nodes_to_content
        from connectors.orders.services import NODE_TABLE_KIND
        from connectors.orders.status_mappings import (
            KIND_LABEL,
            STATUS_MAPPING_KIND,
            check_mapping,
        )

        def check(content: dict[str, Any]) -> dict[str, Any]:
            return nodes_to_content(nodes_from_content(content))

        register_kind(Kind(name=NODE_TABLE_KIND, label="节点表", check=check))
        register_kind(Kind(name=STATUS_MAPPING_KIND, label=KIND_LABEL, check=check_mapping))
