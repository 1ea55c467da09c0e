"""Signing in and out, and choosing an environment."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import LoginView, LogoutView
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_POST
from django.views.i18n import set_language

from config.tenancy.middleware import SESSION_KEY


class SignIn(LoginView):
    """The login page. `next` is checked by Django: never another host."""

    template_name = "login/login.html"
    redirect_authenticated_user = True

    def get_form(self, form_class: Any = None) -> Any:
        form = super().get_form(form_class)
        form.fields["username"].widget.attrs |= {"autocapitalize": "none", "autofocus": True}
        return form


@require_POST
def switch_environment(request: Any) -> HttpResponse:
    """Remember the chosen environment; one that is not the person's own does not exist."""
    wanted = request.POST.get("environment", "")
    if not any(e.public_id == wanted for e in request.environments):
        raise Http404
    request.session[SESSION_KEY] = wanted
    return redirect("home")


urlpatterns = [
    path("login/", SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="login"), name="logout"),
    path("environment/", switch_environment, name="switch_environment"),
    path("language/", set_language, name="set_language"),
]
