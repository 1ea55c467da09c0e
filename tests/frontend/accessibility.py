"""What axe-core finds on a page, for the browser tests."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@cache
def read_axe() -> str:
    """The script of axe-core."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")


def list_violations(page: Any) -> list[str]:
    """Rule and element of everything axe objects to.

    The script goes in through the debugger: our content policy allows none of others.
    """
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": read_axe()})
    answer = session.send(
        "Runtime.evaluate",
        {
            "expression": f"axe.run(document, {{runOnly: {RULES}, resultTypes: ['violations']}})"
            ".then((r) => r.violations.flatMap((v) =>"
            " v.nodes.map((n) => v.id + ' ' + n.target.join(' ') + ' ' +"
            " (n.any[0] ? n.any[0].message : ''))))",
            "awaitPromise": True,
            "returnByValue": True,
        },
    )
    session.detach()
    return list(answer["result"]["value"])
