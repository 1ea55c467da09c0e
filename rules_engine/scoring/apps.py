"""App configuration."""

from django.apps import AppConfig


class ScoringConfig(AppConfig):
    name = "rules_engine.scoring"
    label = "scoring"
    verbose_name = "评分"
