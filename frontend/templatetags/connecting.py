"""The vocabulary of the connectors' forms."""

from __future__ import annotations

from django import template

from frontend.pages.form_groups import name_places

register = template.Library()


@register.simple_tag
def places_of(name: str) -> str:
    """Which list of a sample a setting is picked from: "row", "answer", or nothing."""
    return name_places(name)
