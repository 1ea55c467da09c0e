"""Pictures of every page: 1440 and 390 px wide, light and dark, into the folder screenshots/.

    python tests/frontend/screenshots.py [BASE --user NAME --password ...] [--only home orders]

Without BASE it makes a small promo day in a temporary folder and serves that. It also prints what a
picture does not show: a page wider than the window, an error in the console, a wrong status.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "screenshots"
CHROMIUM = os.environ.get("CHROMIUM_PATH", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
SIZES = {"desktop": {"width": 1440, "height": 1000}, "phone": {"width": 390, "height": 844}}
# Pages by name: an address, and the link on it that leads to the page (empty: the page itself).
PAGES: dict[str, tuple[str, str]] = {
    "home": ("/", ""),
    "orders": ("/orders/", ""),
    "orders-red": ("/orders/?band=red", ""),
    "order": ("/orders/?band=red", "[data-testid=order-row] a"),
    "gaps": ("/gaps/", ""),
    "gaps-left": ("/gaps/?from=oms&to=wms&state=left", ""),
    "deadlines": ("/deadlines/", ""),
    "deadlines-silent": ("/deadlines/?left=silent", ""),
    "gaps-next-door": ("/gaps/?from=wms_push&to=picking", ""),
    "nodes": ("/nodes/", ""),
    "node-draft": ("/nodes/", "[data-testid=edit]"),
    "files": ("/files/", ""),
    "checks": ("/checks/", ""),
    "reviews": ("/reviews/", ""),
    "tables": ("/tables/", ""),
    "table": ("/tables/freight/", ""),
    "table-holidays": ("/tables/holidays/?q=国庆", ""),
    "canvas": ("/canvas/", ""),
    "holds": ("/holds/", ""),
    "robots": ("/robots/", ""),
    "admin": ("/admin/", ""),
    "admin-list": ("/admin/shops/shop/", ""),
    "api": ("/api/", ""),
    "rollup": ("/rollup/", ""),
    "shifts": ("/shifts/", ""),
    "addresses": ("/addresses/", ""),
    "canvas-edit": ("/canvas/edit/", ""),
    "robot-new": ("/robots/", "a[href*='new']"),
    "check-new": ("/checks/new/", ""),
    "functions": ("/functions/", ""),
    "functions-found": ("/functions/?q=距今", "details.function summary"),
    "function": ("/functions/IF/", ""),
    "function-tried": ("/functions/SUM/", "[data-testid=show-example] >> nth=2"),
    "guide": ("/guide/", ""),
    "connections": ("/connections/", ""),
    "connection-new": ("/connections/new/", ""),
    "quarantine": ("/quarantine/", ""),
    "backfills": ("/backfills/", ""),
    "unmapped": ("/unmapped/", ""),
    "missing": ("/orders/not-an-order/", ""),
}
# Pages of things the seeding makes: their addresses come from it.
SEEDED = (
    "check-edit",
    "check-submitted",
    "review",
    "file-mapping",
    "file-import",
    "alert-group",
    "table-draft",
    "table-file",
    "table-review",
    "connection",
    "connection-trouble",
    "connection-edit",
    "quarantine-one",
    "order-calls",
    "connection-calls",
    "backfill",
    "mapping-review",
)
EXPECTED = {"missing": 404}
ROLE_PAGES = {
    "admin": "division_admin",
    "admin-list": "division_admin",
    "rollup": "headquarters",
    "review": "reviewer",
    "reviews": "reviewer",
    "table-review": "reviewer",
    "addresses": "tech_support",
    "api": "division_admin",
    "robot-new": "tech_support",
    "connections": "tech_support",
    "connection": "tech_support",
    "connection-trouble": "tech_support",
    "connection-edit": "tech_support",
    "connection-new": "tech_support",
    "connection-calls": "tech_support",
    "quarantine": "tech_support",
    "quarantine-one": "tech_support",
    "order-calls": "tech_support",
    "backfills": "tech_support",
    "backfill": "tech_support",
    "mapping-review": "reviewer",
}
ORDERS_CSV = """订单号,渠道,店铺,下单时间,订单状态,付款时间,应付金额,实付金额,省,市,区县
PIC1,天猫,旗舰店,2026-11-11 10:00:00,买家已付款,2026-11-11 10:02:00,100.00,100.00,浙江省,杭州市,余杭区
PIC2,抖音,旗舰店,2026/11/11 10:05,备货中,2026/11/11 10:06,89.00,89.00,上海市,上海市,浦东新区
PIC3,天猫,旗舰店,0001-01-01 00:00:00,从没见过的状态,,1e308,12.00,江苏省,苏州市,姑苏区
"""


def seed() -> None:
    """A promo day in the data folder of the environment (run in a process of its own)."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django

    django.setup()
    from django.utils import timezone

    from config.tenancy.scope import for_environment
    from tests.factories import make_day, make_world
    from workflows.rollup.services import take_snapshot

    now = timezone.now()
    world = make_world()
    make_day(world.production, now=now, size=400)
    addresses = {**seed_files(world, now), **seed_rules(world, now), **seed_alert(world, now)}
    addresses |= seed_tables(world, now)
    addresses |= seed_sources(world, now)
    with for_environment(world.production):
        take_snapshot(timezone.now())
    Path(os.environ["HEDAO_DATA"], "pages.json").write_text(json.dumps(addresses))


def seed_files(world: Any, now: datetime) -> dict[str, str]:
    """Uploaded files with a mapping, and an import with a row in quarantine."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    from config.tenancy.scope import for_environment
    from connectors.tabular.uploads import start_run, store_files, work_off

    environment, user = world.production, world.users["supervisor"]
    upload = SimpleUploadedFile("渠道订单.csv", ORDERS_CSV.encode("utf-8-sig"))
    with for_environment(environment):
        files = store_files(environment, [upload], user=user, now=now)
        run = start_run(
            environment,
            files,
            complete_until=now,
            user=user,
            now=now,
            is_dry_run=False,
            is_history=True,
        )
    work_off(environment, run.pk, now=now, budget=timedelta(minutes=2))
    return {
        "file-mapping": f"/files/sets/{files.public_id}/",
        "file-import": f"/files/runs/{run.public_id}/",
    }


def seed_rules(world: Any, now: datetime) -> dict[str, str]:
    """A draft with a misspelt field, and a submitted change that waits for its reviewer."""
    from config.releases.services import create_draft, get_published, submit_version
    from config.tenancy.scope import for_environment

    with for_environment(world.production):
        published = get_published("rule_set", "default")
        assert published is not None
        draft, submitted = (json.loads(json.dumps(published.content)) for _ in range(2))
        for content in (draft, submitted):
            for dimension in content["dimensions"]:
                dimension.pop("stored", None)
        draft["dimensions"][0]["formula"] = (
            "如果（预售阶段＝“”，不适用（），如果（尾款截至＜现在（），不通过，通过））"
        )
        submitted["dimensions"][0]["cap"] = 65
        author = world.users["supervisor"]
        draft_version = create_draft(
            published.document, content=draft, author=author, based_on=published
        )
        waiting = create_draft(
            published.document, content=submitted, author=author, based_on=published
        )
        waiting = submit_version(waiting, actor=author, note="地址封顶放宽到 65", now=now)
        key = draft["dimensions"][0]["key"]
        return {
            "check-edit": f"/checks/{draft_version.public_id}/check/{key}/",
            "check-submitted": f"/checks/{waiting.public_id}/",
            "review": f"/reviews/{waiting.public_id}/",
        }


def seed_tables(world: Any, now: datetime) -> dict[str, str]:
    """A table in force, a draft with a bad cell, one with a file to look at, one that waits."""
    from config.releases.services import create_draft, get_published, submit_version
    from config.tenancy.scope import for_environment
    from rules_engine.facts.tables import SHIPPED
    from tests.factories import publish_document, publish_table

    provinces = (
        "浙江 江苏 上海 安徽 福建 江西 山东 河南 湖北 湖南 广东 广西 四川 重庆 贵州 云南 新疆 西藏"
    )
    rows = [[f"{name}", str(6 + n), str(2 + n // 6)] for n, name in enumerate(provinces.split())]
    author = world.users["supervisor"]
    with for_environment(world.production):
        publish_table(world, now=now, rows=rows)
        publish_document(
            SHIPPED["promotions"], world, kind="lookup_table", key="promotions", now=now
        )
        published = get_published("lookup_table", "freight")
        assert published is not None

        def draft(**changes: Any) -> Any:
            content = {**published.content, **changes}
            return create_draft(
                published.document, content=content, author=author, based_on=published
            )

        bad = draft(rows=[*rows[:6], ["浙江", "六块", ""], ["", "8", "3"]])
        file = draft(
            upload={
                "name": "运费 2026.xlsx",
                "lines": [2, 3, 4],
                "missing": [],
                "ignored": ["备注"],
                "rows": [["浙江", "6.5", "2"], ["西藏", "25", "9"], ["台湾", "40", "12"]],
            }
        )
        waiting = draft(
            name="快递运费表", rows=[*[[*row[:1], "8", row[2]] for row in rows[:3]], *rows[3:-1]]
        )
        submit_version(waiting, actor=author, note="快递公司 12 月起调价", now=now)
    found = {"table-draft": bad, "table-file": file, "table-review": waiting}
    return {name: f"/tables/versions/{version.public_id}/" for name, version in found.items()}


def seed_alert(world: Any, now: datetime) -> dict[str, str]:
    """A patrol that opens episodes and holds, so that alerts and holds have something to show."""
    from config.tenancy.scope import for_environment
    from workflows.interventions.models import AlertGroup
    from workflows.patrol.services import patrol_environment

    patrol_environment(world.production, now=now)
    with for_environment(world.production):
        group = AlertGroup.objects.first()
    return {"alert-group": f"/alerts/{group.public_id}/"} if group else {}


def seed_sources(world: Any, now: datetime) -> dict[str, str]:
    """Connections that do well, late and in trouble, with calls, quarantine, back-fill, statuses."""
    from config.tenancy.scope import for_environment
    from connectors.orders.status_mappings import propose_mapping
    from connectors.orders.statuses import Stage
    from tests.factories import make_order
    from tests.frontend import sources

    with for_environment(world.production):
        well = sources.connect(now)
        sources.read_well(well, now, runs=6)
        failing = sources.connect(now, name="抖店 云裳女装馆", vendor="douyin")
        sources.read_well(failing, now, runs=2)
        sources.fail(failing, now)
        sources.connect(now, name="支付宝", vendor="alipay", kind="gateway", shop=None)
        order = make_order(now, order_no="382011977404", source=well.source)
        sources.log_call(well, now, order_no=order.order_no)
        sources.log_call(well, now, order_no=order.order_no, outcome="ambiguous", http_status=None)
        sources.log_message(well, now, key="picture", order_no=order.order_no)
        aside = sources.put_in_quarantine(well, now, order_no=order.order_no)
        run = sources.ask_backfill(well, now)
        for number in range(3):
            raw = ("WAIT_AI_AUDIT", "WAIT_AI_AUDIT", "TRADE_ON_TRIAL")[number]
            make_order(now, stage=Stage.UNKNOWN, raw_status=raw, source=well.source)
        mapping = propose_mapping(
            channel="tmall",
            raw_status="TRADE_ON_TRIAL",
            stage=Stage.PLATFORM_HOLD,
            actor=world.users["tech_support"],
            effective_from=now.date(),
            now=now,
            note="平台公告新增的试用订单",
        )
    return {
        "connection": f"/connections/{well.public_id}/",
        "connection-trouble": f"/connections/{failing.public_id}/",
        "connection-edit": f"/connections/{well.public_id}/edit/",
        "connection-calls": f"/connections/{well.public_id}/calls/",
        "quarantine-one": f"/quarantine/{aside.public_id}/",
        "order-calls": f"/orders/{order.public_id}/calls/",
        "backfill": f"/backfills/{run.public_id}/",
        "mapping-review": f"/unmapped/versions/{mapping.public_id}/",
    }


@contextmanager
def serve_own_data() -> Iterator[str]:
    """A server on fresh data in a temporary folder; yields its address."""
    with tempfile.TemporaryDirectory(prefix="hedao-pictures-") as folder:
        environment = os.environ | {
            "HEDAO_DATA": folder,
            "DEBUG": "1",
            "LOG_LEVEL": "ERROR",
            "PYTHONPATH": str(ROOT),
        }
        run = [sys.executable, str(ROOT / "manage.py")]
        subprocess.run([*run, "migrate", "-v0"], check=True, env=environment, cwd=ROOT)
        subprocess.run([sys.executable, __file__, "--seed"], check=True, env=environment, cwd=ROOT)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        server = subprocess.Popen(
            [*run, "runserver", "--noreload", address],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(f"http://{address}/healthz")
            made = json.loads(Path(folder, "pages.json").read_text())
            if lost := set(SEEDED) - set(made):
                raise RuntimeError(f"the seeding made no {sorted(lost)}")
            PAGES.update({name: (path, "") for name, path in made.items()})
            yield f"http://{address}"
        finally:
            server.terminate()
            server.wait(timeout=10)


def _wait_for(address: str) -> None:
    for _try in range(100):
        try:
            urllib.request.urlopen(address, timeout=2)  # noqa: S310 - our own server
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(address)


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

    def note(message: Any) -> None:
        if message.type == "error" and name not in EXPECTED:
            wrong.append(f"console: {message.text}")

    page.on("console", note)
    answer = page.goto(base + address)
    if selector and page.locator(selector).count():
        page.locator(selector).first.click()
    elif selector:
        wrong.append("nothing to open")
    page.wait_for_load_state("networkidle")
    page.remove_listener("console", note)
    if answer is not None and answer.status != EXPECTED.get(name, 200):
        wrong.append(f"status {answer.status}")
    width, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    if width > window:
        wrong.append(f"{width} px wide in {window}")
    page.screenshot(path=target, full_page=True)
    return wrong


def take_all(base: str, options: argparse.Namespace) -> int:
    """Every wanted page in every size and scheme; returns how many had something wrong."""
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
                page, signed_in = context.new_page(), ""
                page.goto(f"{base}/login/")
                page.screenshot(path=FOLDER / f"login-{size}-{scheme}.png")
                for name in options.only or PAGES:
                    user = options.user or ROLE_PAGES.get(name, "supervisor")
                    if user != signed_in:
                        context.clear_cookies()
                        sign_in(page, base, user, options.password)
                        signed_in = user
                    wrong = shoot(page, base, name, FOLDER / f"{name}-{size}-{scheme}.png")
                    bad += bool(wrong)
                    sys.stdout.write(f"{name:12} {size} {scheme:6} {'; '.join(wrong) or 'ok'}\n")
                context.close()
        browser.close()
    return bad


def main() -> int:
    """Take the pictures; fails when a page had something wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", nargs="?")
    parser.add_argument("--user", help="one person for all pages (default: by page)")
    parser.add_argument("--password", default="hedao-test-2026")
    parser.add_argument("--only", nargs="*", choices=[*PAGES, *SEEDED])
    parser.add_argument("--size", nargs="*", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--scheme", nargs="*", choices=["light", "dark"], default=["light", "dark"])
    parser.add_argument("--language", default="zh-CN")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    if options.base:
        return min(1, take_all(options.base, options))
    with serve_own_data() as base:
        return min(1, take_all(base, options))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if "--seed" in sys.argv:
        seed()
    else:
        sys.exit(main())
