"""Starter rule sets: listed, and installed as the first rules of an environment."""

from __future__ import annotations

from datetime import datetime

from config.errors import NotFound, gettext_noop
from config.releases.models import Version
from rules_engine.presets.catalog import PRESETS, Preset
from rules_engine.rules.services import install_rule_set

__all__ = ["PRESETS", "Preset", "get_preset", "install", "list_presets"]


def list_presets() -> tuple[Preset, ...]:
    """Every starter rule set."""
    return PRESETS


def get_preset(key: str) -> Preset:
    """The starter rule set of this key; raises NotFound."""
    for preset in PRESETS:
        if preset.key == key:
            return preset
    raise NotFound(gettext_noop("没有预置模板「%(key)s」"), key=key)


def install(key: str, now: datetime) -> Version:
    """Publish a starter rule set as the first rules of the environment in force.

    Raises WrongState when rules are published there already.
    """
    preset = get_preset(key)
    return install_rule_set(preset.content, origin=f"preset:{key}", now=now)
