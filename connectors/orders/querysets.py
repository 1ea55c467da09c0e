"""The vocabulary for asking about orders."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db.models import Q

from config.tenancy.scope import EnvironmentManager, EnvironmentQuerySet


class OrderQuerySet(EnvironmentQuerySet):
    """Orders of the environment in force."""

    def waiting(self) -> Self:
        """Orders that are not over yet."""
        return self.filter(is_open=True)

    def at_node(self, node: str) -> Self:
        """Orders standing at a node."""
        return self.filter(node=node)

    def older_than(self, moment: datetime) -> Self:
        """Orders that entered their node before a moment."""
        return self.filter(node_entered_at__lt=moment)

    def search(self, words: str) -> Self:
        """By order number (whole or its end) or by the last four digits of the phone."""
        words = words.strip()
        condition = Q(order_no__iexact=words) | Q(order_no__iendswith=words)
        if len(words) == 4 and words.isdigit():
            condition |= Q(phone_tail=words)
        return self.filter(condition)


class OrderManager(EnvironmentManager.from_queryset(OrderQuerySet)):  # type: ignore[misc] # dynamic base
    """Default manager of orders."""
