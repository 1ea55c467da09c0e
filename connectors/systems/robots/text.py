"""Making foreign text harmless inside a robot's markdown."""

from __future__ import annotations

import unicodedata

# DingTalk's markdown honours no backslash escapes reliably, so every mark with a meaning becomes
# its full-width twin: the same to a reader, nothing to the renderer.
_MARKS = str.maketrans("[](){}<>*_`~#|!\\@", "［］（）｛｝＜＞＊＿｀～＃｜！＼＠")


def write_plain(text: str, *, limit: int = 60) -> str:
    """Foreign text as one line without markdown, links, mentions or control characters.

    Order numbers, shop names, causes and reasons come from outside or from rule authors; this is
    the only way they get into a message. Longer than `limit` characters ends in an ellipsis.
    """
    shown = "".join(
        " " if unicodedata.category(c) in {"Zl", "Zp", "Cc"} else c
        for c in text
        if unicodedata.category(c) not in {"Cf", "Cs", "Co"}
    )
    shown = " ".join(shown.split()).translate(_MARKS)
    shown = shown.replace("://", "：／／")  # no bare address that a client turns into a link
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
