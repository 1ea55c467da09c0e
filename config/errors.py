"""The one base of every error that has a code, a Chinese message and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final


def gettext_noop(message: str) -> str:
    """Mark text for makemessages without importing a framework; edges translate it."""
    return message


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words of ours inside a message: a Chinese template and what fills it, other phrases too.

    str() is the Chinese text; `config.wording` says it in the language of the reader.
    """

    message: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return self.message % self.params if self.params else self.message


BY_COMMA: Final = gettext_noop("%(before)s、%(next)s")
BY_SEMICOLON: Final = gettext_noop("%(before)s；%(next)s")
BY_SENTENCE: Final = gettext_noop("%(before)s。%(next)s")
BY_CLAUSE: Final = gettext_noop("%(before)s，%(next)s")


def keep_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """What fills a phrase as JSON holds it: phrases among it as phrases, numbers as numbers."""
    return {
        name: (
            {"message": value.message, "params": keep_params(value.params)}
            if isinstance(value, Phrase)
            else value
            if isinstance(value, int | float)
            else str(value)
        )
        for name, value in params.items()
    }


def recall_phrase(message: str, kept: Mapping[str, Any]) -> Phrase:
    """A phrase that was kept: what fills it is said in the reader's language where it is ours."""
    return Phrase(
        message,
        {
            name: (
                recall_phrase(value["message"], value["params"])
                if isinstance(value, Mapping)
                else Phrase(value)
                if isinstance(value, str)
                else value
            )
            for name, value in kept.items()
        },
    )


def join_phrases(parts: Iterable[Phrase | str], joint: str = BY_COMMA) -> Phrase:
    """Parts as one phrase with the marks of the reader's language between them."""
    found = [p if isinstance(p, Phrase) else Phrase("%(text)s", {"text": p}) for p in parts]
    while len(found) > 1:  # in pairs, so that saying hundreds of them goes no deeper than ten
        pairs = zip(found[::2], found[1::2], strict=False)
        odd = found[-1:] if len(found) % 2 else []
        found = [Phrase(joint, {"before": a, "next": b}) for a, b in pairs] + odd
    return found[0] if found else Phrase("")


def list_sentences(parts: Sequence[Phrase], limit: int) -> Phrase:
    """The first parts as one phrase; how many more there are is counted."""
    shown = [*parts[:limit]]
    if more := len(parts) - len(shown):
        shown.append(Phrase(gettext_noop("另有 %(n)d 处"), {"n": more}))
    return join_phrases(shown, BY_SEMICOLON)


class AppError(Exception):
    """Base of all our errors.

    `message` is a Chinese template with named %(x)s placeholders, `params` fills them,
    `code` is stable English for programs. Edges say it with `config.wording`.
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
