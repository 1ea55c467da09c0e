"""All addresses of the product. Each page module brings its own `urlpatterns`."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path

from frontend.api import urls as api_urls
from frontend.inbound import urls as inbound_urls
from frontend.pages import (
    addresses,
    api_access,
    backfills,
    calls,
    canvas,
    checks,
    completion,
    connection_authorising,
    connection_wizard,
    connections,
    deadlines,
    files,
    functions,
    gaps,
    guide,
    holds,
    home,
    login,
    nodes,
    orders,
    quarantine,
    reviews,
    robot_ledger,
    rollup,
    shifts,
    suspensions,
    tables,
    unmapped,
)


def healthz(request: HttpRequest) -> HttpResponse:
    """Answer that the web process lives."""
    return HttpResponse("ok", content_type="text/plain")


urlpatterns = [
    path("healthz", healthz, name="healthz"),
    *login.urlpatterns,
    *home.urlpatterns,
    *orders.urlpatterns,
    *gaps.urlpatterns,
    *deadlines.urlpatterns,
    *holds.urlpatterns,
    *robot_ledger.urlpatterns,
    *shifts.urlpatterns,
    *addresses.urlpatterns,
    *nodes.urlpatterns,
    *rollup.urlpatterns,
    *canvas.urlpatterns,
    *checks.urlpatterns,
    *reviews.urlpatterns,
    *tables.urlpatterns,
    *suspensions.urlpatterns,
    *completion.urlpatterns,
    *functions.urlpatterns,
    *guide.urlpatterns,
    *files.urlpatterns,
    *connection_authorising.urlpatterns,
    *connection_wizard.urlpatterns,
    *connections.urlpatterns,
    *quarantine.urlpatterns,
    *calls.urlpatterns,
    *backfills.urlpatterns,
    *unmapped.urlpatterns,
    # one line per page module
    *api_access.urlpatterns,
    *api_urls.urlpatterns,
    *inbound_urls.urlpatterns,
    path("admin/", admin.site.urls),
]
