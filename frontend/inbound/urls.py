"""Addresses of the webhooks."""

from __future__ import annotations

from django.urls import path

from frontend.inbound import views

urlpatterns = [
    path("in/<str:environment_id>/<str:connection_id>/", views.receive_push, name="inbound"),
]
