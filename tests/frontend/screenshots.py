"""Pictures of every page: 1440 and 390 px wide, light and dark, into the folder screenshots/.

    python -m tests.frontend.screenshots http://127.0.0.1:8600 --user demo-user --password ... [--only home]

Needs a running server (make demo, or runserver on a data folder). Also prints what a picture does
not show: a page wider than the window, an error in the console, an answer that is not 200.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).resolve().parents[2] / "screenshots"
CHROMIUM = os.environ.get("CHROMIUM_PATH", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
SIZES = {"desktop": {"width": 1440, "height": 1000}, "phone": {"width": 390, "height": 844}}
# Pages by name: an address, or a way to one from an address (the first link of this selector).
PAGES: dict[str, tuple[str, str]] = {
    "home": ("/", ""),
    "orders": ("/orders/", ""),
    "orders-red": ("/orders/?band=red", ""),
    "order": ("/orders/?band=red", "[data-testid=order-row] a"),
    "nodes": ("/nodes/", ""),
    "files": ("/files/", ""),
    "checks": ("/checks/", ""),
    "check": ("/checks/", "main a[href*='/checks/']"),
    "reviews": ("/reviews/", ""),
    "canvas": ("/canvas/", ""),
    "holds": ("/holds/", ""),
    "robots": ("/robots/", ""),
    "alert-group": ("/robots/", "[data-testid=delivery] a"),
    "robot-new": ("/robots/new/", ""),
    "shifts": ("/shifts/", ""),
    "addresses": ("/addresses/", ""),
    "admin": ("/admin/", ""),
    "admin-list": ("/admin/shops/shop/", ""),
    "missing": ("/orders/not-an-order/", ""),
}


def sign_in(page: Page, base: str, user: str, password: str) -> None:
    """Sign in through the login page."""
    page.goto(f"{base}/login/")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", password)
    page.click("[data-testid=login-form] button")
    page.wait_for_load_state("networkidle")


def shoot(page: Page, base: str, name: str, target: Path) -> list[str]:
    """One page into one file; returns what is wrong with it."""
    address, selector = PAGES[name]
    wrong: list[str] = []
    listener: Any = lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None  # noqa: E731 - removed below
    page.on("console", listener)
    answer = page.goto(base + address)
    if selector and page.locator(selector).count():
        page.locator(selector).first.click()
    elif selector:
        wrong.append("nothing to open")
    page.wait_for_load_state("networkidle")
    page.remove_listener("console", listener)
    if answer is not None and answer.status != 200:
        wrong.append(f"status {answer.status}")
    width, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    if width > window:
        wrong.append(f"{width} px wide in {window}")
    page.screenshot(path=target, full_page=True)
    return wrong


def main() -> int:
    """Take all pictures; the number of pages with something wrong is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--only", nargs="*", choices=[*PAGES, "login"])
    parser.add_argument("--size", nargs="*", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--scheme", nargs="*", choices=["light", "dark"], default=["light", "dark"])
    parser.add_argument("--language", default="zh-CN")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    bad = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for size in options.size:
            for scheme in options.scheme:
                context = browser.new_context(
                    viewport=SIZES[size],
                    locale=options.language,
                    timezone_id="Asia/Shanghai",
                    color_scheme=scheme,
                )
                page = context.new_page()
                suffix = f"{size}-{scheme}"
                page.goto(f"{options.base}/login/")
                page.screenshot(path=FOLDER / f"login-{suffix}.png")
                sign_in(page, options.base, options.user, options.password)
                for name in options.only or PAGES:
                    if name == "login":
                        continue
                    wrong = shoot(page, options.base, name, FOLDER / f"{name}-{suffix}.png")
                    bad += bool(wrong)
                    sys.stdout.write(f"{name:12} {suffix:14} {'; '.join(wrong) or 'ok'}\n")
                context.close()
        browser.close()
    return bad


if __name__ == "__main__":
    sys.exit(main())
