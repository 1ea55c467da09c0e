"""Addresses of the API, below /api/v1/."""

from __future__ import annotations

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from frontend.api.orders import OrderDetail, OrderList
from frontend.api.rule_sets import RuleSetDetail, RuleSetList, RuleSetVersion
from frontend.api.scores import OrderScore, ScoreList
from frontend.api.views import NothingHere

urlpatterns = [
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="api_schema"),
    path("api/v1/orders/", OrderList.as_view(), name="api_orders"),
    path("api/v1/orders/<str:public_id>/", OrderDetail.as_view(), name="api_order"),
    path("api/v1/scores/", ScoreList.as_view(), name="api_scores"),
    path("api/v1/scores/<str:public_id>/", OrderScore.as_view(), name="api_score"),
    path("api/v1/rule-sets/", RuleSetList.as_view(), name="api_rule_sets"),
    path("api/v1/rule-sets/<str:public_id>/", RuleSetDetail.as_view(), name="api_rule_set"),
    path(
        "api/v1/rule-sets/<str:public_id>/versions/<int:number>/",
        RuleSetVersion.as_view(),
        name="api_rule_set_version",
    ),
    re_path(r"^api/v1/(?P<rest>.+)$", NothingHere.as_view()),
]
