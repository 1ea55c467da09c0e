"""Messages and phrases in the language of the reader: the one place that translates them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from config.errors import BY_COMMA, AppError, Phrase


def translate(message: str, params: Mapping[str, Any]) -> str:
    """A message in the reader's language, filled in; phrases among the parameters as well."""
    text = _(message) if message else ""
    return text % translate_params(params) if params else text


def translate_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with every phrase among them translated."""
    return {name: say(part) if isinstance(part, Phrase) else part for name, part in params.items()}


def say(phrase: Phrase) -> str:
    """A phrase in the reader's language."""
    return translate(phrase.message, phrase.params)


def say_error(error: AppError) -> str:
    """What an error says, in the reader's language."""
    return translate(error.message, error.params)


def join_words(parts: Iterable[str], joint: str = BY_COMMA) -> str:
    """Words in a row with the marks of the reader's language between them; "" for none."""
    between, joined = _(joint), None
    for part in parts:
        joined = str(part) if joined is None else between % {"before": joined, "next": part}
    return joined or ""
