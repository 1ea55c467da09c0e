"""Root of all addresses; the pages, API and webhooks live in the frontend app."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("frontend.urls"))]
