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
        """By order number, by its end (five characters or more), or by the phone's last four.

        The whole number and the phone tail are answered by an index; only when no number is
        equal are the ends compared, row by row.
        """
        words = words.strip()
        if len(words) == 4 and words.isdigit():
            return self.filter(Q(phone_tail=words) | Q(order_no=words))
        if len(words) < 5 or self.filter(order_no=words).exists():
            return self.filter(order_no=words)
        return self.filter(Q(order_no__iexact=words) | Q(order_no__iendswith=words))


class OrderManager(EnvironmentManager.from_queryset(OrderQuerySet)):  # type: ignore[misc] # dynamic base
    """Default manager of orders."""
