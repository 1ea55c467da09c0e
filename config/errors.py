"""The one base of every error that has a code, a Chinese message and parameters."""

from __future__ import annotations

from typing import Any


def gettext_noop(message: str) -> str:
    """Mark text for makemessages without importing a framework; edges translate it."""
    return message


class AppError(Exception):
    """Base of all our errors.

    `message` is a Chinese template with named %(x)s placeholders, `params` fills them,
    `code` is stable English for programs. Edges translate `message` and then fill it in.
    """

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, **params: Any) -> None:
        super().__init__(message)
        self.message = message
        self.params = params
        if code is not None:
            self.code = code

    @property
    def text(self) -> str:
        """The Chinese sentence, filled in."""
        return self.message % self.params if self.params else self.message

    def __str__(self) -> str:
        return self.text


class NotAllowed(AppError):
    """A refusal: this person may not do this."""

    code = "not_allowed"


class WrongState(AppError):
    """A refusal: the thing is not in a state in which this can be done."""

    code = "wrong_state"


class BadInput(AppError):
    """Input that cannot be accepted; says where and what to do."""

    code = "bad_input"


class NotFound(AppError):
    """No such thing in this scope; the same answer whether absent or foreign."""

    code = "not_found"
