"""The English catalogue is complete, compiled and keeps every placeholder."""

from __future__ import annotations

import gettext as gnu
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.template import Context, Template
from django.test import Client
from django.utils.translation import override

from config.errors import BY_SEMICOLON
from config.wording import join_words
from frontend.wording import describe_duration, describe_fen, describe_score
from tests.factories import World

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"config", "connectors", "rules_engine", "workflows", "frontend"}
FOLDER = Path(settings.LOCALE_PATHS[0]) / "en" / "LC_MESSAGES"
_PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def load_catalogue() -> dict[str, str]:
    with (FOLDER / "django.mo").open("rb") as file:
        entries = gnu.GNUTranslations(file)._catalog  # type: ignore[attr-defined] # no public way
    return {
        (key[0] if isinstance(key, tuple) else key): text for key, text in entries.items() if key
    }


def read_msgids(text: str) -> set[str]:
    """The msgids of a .po text, a context in front of its own as the compiled file has it."""
    entry = re.compile(r'^(?:msgctxt ((?:".*"\n)+))?msgid ((?:".*"\n)+)', flags=re.MULTILINE)
    found = set()
    for context, block in entry.findall(text):
        name = _unquote(block)
        found.add(f"{_unquote(context)}\x04{name}" if context else name)
    return found - {""}


def _unquote(block: str) -> str:
    joined = "".join(line[1:-1] for line in block.strip().split("\n"))
    return joined.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")


def test_every_text_has_an_english_one_with_the_same_placeholders() -> None:
    catalogue = load_catalogue()

    assert len(catalogue) > 1500
    for source, text in catalogue.items():
        assert text.strip(), source
        assert sorted(_PLACEHOLDER.findall(source)) == sorted(_PLACEHOLDER.findall(text)), source


def test_the_compiled_catalogue_is_the_written_one() -> None:
    written = read_msgids((FOLDER / "django.po").read_text(encoding="utf-8"))

    assert written == set(load_catalogue())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xgettext") is None, reason="needs the gettext tools")
def test_every_text_in_the_source_is_in_the_catalogue(tmp_path: Path) -> None:
    # On a copy: makemessages writes into every folder called locale that it finds.
    for path in ROOT.rglob("*"):
        place = path.relative_to(ROOT)
        if path.suffix in {".py", ".html"} and place.parts[0] in PACKAGES:
            if "simulators" in place.parts:
                continue
            copy = tmp_path / place
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    script = (
        "import django; from django.conf import settings; django.setup();"
        f"settings.LOCALE_PATHS = [{str(tmp_path / 'made')!r}];"
        "from django.core.management import call_command;"
        "call_command('makemessages', locale=['en'], verbosity=0, no_location=True)"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "config.settings_test",
        },
    )
    made = (tmp_path / "made" / "en" / "LC_MESSAGES" / "django.po").read_text(encoding="utf-8")

    found = read_msgids(made)
    assert len(found) > 1500
    assert sorted(found - set(load_catalogue())) == []


@pytest.mark.django_db
def test_the_english_pages_have_no_chinese_of_ours(world: World) -> None:
    client = Client()
    client.force_login(world.users["division_admin"])
    with override("en"):
        client.post("/language/", {"language": "en", "next": "/"})
    names = ("简体中文", "女装", "孙洁", ">孙<")

    for address in ("/", "/orders/", "/nodes/", "/admin/"):
        with override("en"):  # a request leaves its language behind
            page = re.sub(r"<script.*?</script>", "", client.get(address).content.decode())
        for name in names:
            page = page.replace(name, "")
        assert not _CHINESE.search(page), (address, _CHINESE.findall(page)[:20])


def test_a_list_has_the_marks_of_its_reader() -> None:
    names = ["天猫", "抖店", "100%"]
    with override("zh-hans"):
        assert join_words(names) == "天猫、抖店、100%"
        assert join_words(names[:2], BY_SEMICOLON) == "天猫；抖店"
    with override("en"):
        assert join_words(iter(names)) == "天猫, 抖店, 100%"
        assert (join_words([]), join_words(["x"])) == ("", "x")


def test_one_is_one_and_more_are_many_in_english() -> None:
    said = "{% load i18n %}{% blocktranslate count n=n with shown=n %}{{ shown }} 单{% plural %}{{ shown }} 单{% endblocktranslate %}"
    with override("en"):
        words = [Template(said).render(Context({"n": n})) for n in (0, 1, 2)]
    assert words == ["0 orders", "1 order", "2 orders"]
    with override("zh-hans"):
        assert Template(said).render(Context({"n": 1})) == "1 单"


def test_money_scores_and_spans_are_worded_exactly() -> None:
    from datetime import timedelta

    assert describe_fen(126_800) == "¥1,268.00"
    assert describe_fen(16_224_049, rounded=True) == "¥162,240"
    assert describe_fen(-5) == "-¥0.05"
    assert describe_fen(None) == "—"
    assert describe_score(69_99) == "69.99"
    assert describe_score(49_00) == "49"
    assert describe_score(5) == "0.05"
    assert describe_score(-1_50) == "-1.5"
    with override("zh-hans"):
        assert describe_duration(timedelta(minutes=112)) == "1 小时 52 分"
        assert describe_duration(timedelta(minutes=52)) == "52 分钟"
        assert describe_duration(timedelta(hours=2)) == "2 小时"
        assert describe_duration(timedelta(seconds=4.24)) == "4.2 秒"
        assert describe_duration(timedelta(hours=76)) == "3 天 4 小时"
    with override("en"):
        assert describe_duration(timedelta(minutes=112)) == "1 h 52 min"
