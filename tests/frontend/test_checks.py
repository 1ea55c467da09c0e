"""Writing a check: what is saved, what is said about it, who may do what."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from config.releases.models import State, Version
from config.releases.services import checksum_of, create_draft, get_or_create_document
from config.tenancy.models import Role
from config.tenancy.scope import for_environment
from rules_engine import presets
from rules_engine.rules import drafts
from rules_engine.scoring.services import list_due_order_ids, score_orders
from tests.factories import NOW, World, make_order, make_sources
from workflows.causes import classify

pytestmark = pytest.mark.django_db

PRESALE = "如果（预售阶段＝“”，不适用（），如果（且（预售阶段＝“定金已付”，尾款截止＜现在（）），不通过，通过））"
HX = {"HX-Request": "true"}


def sign_in(world: World, role: str = Role.SUPERVISOR) -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


@pytest.fixture
def supervisor(world: World) -> Client:
    return sign_in(world)


@pytest.fixture
def published(world: World) -> Version:
    """The five-dimension model, in force in the first division's production."""
    with for_environment(world.production):
        make_sources()
        return presets.install("five_dimensions", NOW)


def start(client: Client, world: World) -> tuple[Version, str]:
    """A new blank check in a draft; returns the draft and the check's key."""
    answer = client.post(reverse("check_new"), {"template": ""})
    assert answer.status_code == 302, answer.content
    _empty, _checks, version_id, _check, key, _end = answer["Location"].split("/")
    return find(world, version_id), key


def find(world: World, public_id: str) -> Version:
    with for_environment(world.production):
        version: Version = Version.objects.get(public_id=public_id)
        return version


def read(version: Version, key: str) -> dict[str, Any]:
    found = drafts.find_dimension(version.content, key)
    assert found is not None
    return found


def save(client: Client, version: Version, key: str, **changes: Any) -> Any:
    """What the page posts while one types, with the digest it has seen."""
    seen = checksum_of(read(version, key))[:16]
    address = reverse("check_edit", args=[version.public_id, key])
    return client.post(address, {"seen": seen, **changes}, headers=HX)


def text_of(answer: Any) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


# --- saving while one types -------------------------------------------------------------------


def test_half_written_work_is_kept_as_typed(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)

    answer = save(
        supervisor, version, key, formula="如果（预售阶段＝", name="预售", points="十", cap="１２"
    )

    assert answer.status_code == 200
    kept = read(find(world, version.public_id), key)
    assert (kept["formula"], kept["name"]) == ("如果（预售阶段＝", "预售")
    assert (kept["points"], kept["cap"]) == ("十", 12)
    assert "已保存" in text_of(answer)
    assert "HX-Trigger-After-Settle" not in answer
    assert 'data-valid="0"' in answer.content.decode()


def test_a_misspelt_field_is_marked_at_its_place_with_a_fix(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    formula = PRESALE.replace("尾款截止", "尾款截至")

    body = save(supervisor, version, key, formula=formula).content.decode()

    place = formula.index("尾款截至")
    assert f'data-start="{place}" data-end="{place + 4}" data-refuses="1"' in body
    assert "没有字段「尾款截至」，是不是「尾款截止」？" in body
    assert 'data-text="尾款截止"' in body
    assert f"第 1 行第 {place + 1} 列" in body


def test_a_good_formula_is_read_back_and_its_results_are_asked_for(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)

    answer = save(supervisor, version, key, formula=PRESALE)

    assert answer["HX-Trigger-After-Settle"] == "check-saved"
    assert "读作：如果「预售阶段」为空，那么不适用" in text_of(answer)


def test_line_ends_count_one_character_as_in_the_browser(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)

    body = save(supervisor, version, key, formula="如果(真,\r\n没有,通过)").content.decode()

    assert read(find(world, version.public_id), key)["formula"] == "如果(真,\n没有,通过)"
    assert "第 2 行第 1 列" in body


def test_a_fix_works_without_a_script(supervisor: Client, world: World, published: Version) -> None:
    version, key = start(supervisor, world)
    formula = PRESALE.replace("尾款截止", "尾款截至")
    place = formula.index("尾款截至")
    address = reverse("check_edit", args=[version.public_id, key])
    seen = checksum_of(read(version, key))[:16]

    answer = supervisor.post(
        address, {"seen": seen, "formula": formula, "fix": f"{place},{place + 4},尾款截止"}
    )

    assert answer.status_code == 302
    assert read(find(world, version.public_id), key)["formula"] == PRESALE


def test_another_window_is_not_overwritten_unasked(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    save(supervisor, version, key, formula="真")

    late = save(supervisor, version, key, formula="假")  # still holds the first digest

    assert "别的窗口里改过" in text_of(late)
    assert read(find(world, version.public_id), key)["formula"] == "真"
    save(supervisor, version, key, formula="假", overwrite="1")
    assert read(find(world, version.public_id), key)["formula"] == "假"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"formula": "仓库温度>5"}, "没有字段「仓库温度」"),
        ({"formula": "__import__('os').system('id')"}, "不能使用"),
        ({"formula": "(" * 9000}, "公式有 9000 个字符"),
        ({"formula": "9^9^9^9^9"}, "判断要得出"),
        ({"formula": "真", "points": "1e308"}, "分值应是 0 到 100"),
        ({"formula": "真", "points": "-5"}, "分值应是 0 到 100"),
        ({"formula": "真", "points": "12.345"}, "分值应是 0 到 100"),
        ({"formula": "真", "cap": "9999999999999"}, "封顶应是 0 到 100"),
        ({"formula": "真", "reason": "{没有这个}"}, "占位 {没有这个} 不能用"),
        ({"formula": "真", "reason": "{备注}"}, "含个人信息"),
        ({"formula": "真", "name": "x" * 60}, "最多 40 个字"),
        ({"formula": "真", "line-red": "80"}, "100 > 黄线 > 橙线 > 红线"),
    ],
)
def test_bad_input_is_kept_said_and_refused_on_submitting(
    supervisor: Client, world: World, published: Version, changes: dict[str, str], said: str
) -> None:
    version, key = start(supervisor, world)

    answer = save(supervisor, version, key, **{"name": "预售", "points": "10", **changes})

    assert answer.status_code == 200
    assert said in text_of(answer)
    refused = supervisor.post(
        reverse("check_submit", args=[version.public_id, key]), {"note": "请看"}
    )
    assert refused.status_code == 422
    assert said in text_of(refused)
    assert find(world, version.public_id).state == State.DRAFT


def test_a_formula_beyond_all_measure_is_not_kept(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)

    answer = save(supervisor, version, key, formula="真" * 30_000)

    assert answer.status_code == 400
    assert read(find(world, version.public_id), key)["formula"] == ""


def test_a_wall_of_text_is_laid_out_and_saved(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    layout = reverse("check_layout", args=[version.public_id, key])

    answer = supervisor.post(layout, {"formula": PRESALE, "name": "预售"}, headers=HX)

    laid_out = read(find(world, version.public_id), key)
    assert laid_out["formula"].startswith("如果（预售阶段＝“”，\n  不适用（），\n  如果（")
    assert laid_out["name"] == "预售"
    assert "data-laid-out=" in answer.content.decode()
    supervisor.post(layout, {"formula": "如果(  真"}, headers=HX)
    assert read(find(world, version.public_id), key)["formula"] == "如果(  真"


# --- points, submitting -------------------------------------------------------------------------


def test_points_that_do_not_sum_to_100_cannot_go_and_one_click_mends_them(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    written = {"formula": PRESALE, "name": "预售", "points": "10", "cause": "预售尾款逾期"}
    assert "合计 110 分，要正好 100 分才能提交" in text_of(
        save(supervisor, version, key, **written)
    )
    submit = reverse("check_submit", args=[version.public_id, key])
    assert "分值之和应是 100" in text_of(supervisor.post(submit, {"note": "请看"}))

    balance = reverse("check_balance", args=[version.public_id, key])
    answer = supervisor.post(balance, {**written, "points-stock": "25"}, headers=HX)

    assert "合计 100 分" in text_of(answer)
    content = find(world, version.public_id).content
    points = {d["key"]: d["points"] for d in content["dimensions"]}
    assert points == {
        "address": 18, "callback": 27, "stock": 23, "price": 13, "logistics": 9, key: 10,
    }  # fmt: skip
    assert supervisor.post(submit, {"note": "预售尾款没人盯"}).status_code == 302
    assert find(world, version.public_id).state == State.SUBMITTED


def test_submitting_needs_a_word_and_names_every_problem_with_its_check(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    save(
        supervisor,
        version,
        key,
        formula="如果(",
        name="预售",
        points="abc",
        **{"points-price": "x"},
    )

    refused = supervisor.post(reverse("check_submit", args=[version.public_id, key]), {"note": ""})

    said = text_of(refused)
    assert refused.status_code == 422
    for problem in ("请写一句", "分值应是 0 到 100", "价格校验", "第 1 行"):
        assert problem in said
    assert find(world, version.public_id).state == State.DRAFT


def test_a_submitted_version_cannot_be_changed_any_more(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    save(supervisor, version, key, formula=PRESALE, name="预售", points="0", cap="59")
    submit = reverse("check_submit", args=[version.public_id, key])
    assert supervisor.post(submit, {"note": "请看"}).status_code == 302
    frozen = find(world, version.public_id)

    for name in ("check_edit", "check_balance", "check_remove", "check_submit"):
        answer = supervisor.post(
            reverse(name, args=[version.public_id, key]), {"formula": "真", "note": "x"}
        )
        assert answer.status_code == 409, name
    discard = reverse("check_discard", args=[version.public_id])
    assert supervisor.post(discard).status_code == 409
    assert find(world, version.public_id).checksum == frozen.checksum


# --- drafts -------------------------------------------------------------------------------------


def test_changing_a_published_check_works_on_a_copy(
    supervisor: Client, world: World, published: Version
) -> None:
    answer = supervisor.post(reverse("check_change", args=["price"]))
    again = supervisor.post(reverse("check_change", args=["stock"]))

    assert answer["Location"].endswith("/check/price/")
    with for_environment(world.production):
        draft = Version.objects.get(state=State.DRAFT)  # one draft, not one per click
        assert draft.based_on_id == published.pk
        assert draft.content == published.content
    assert again["Location"].split("/")[2] == draft.public_id
    assert supervisor.post(reverse("check_change", args=["nothing"])).status_code == 404


def test_a_template_fills_the_new_check(
    supervisor: Client, world: World, published: Version
) -> None:
    page = supervisor.get(reverse("check_new"))
    assert "预售定金尾款" in text_of(page)

    answer = supervisor.post(reverse("check_new"), {"template": "presale/balance"})

    version_id, key = answer["Location"].split("/")[2], answer["Location"].split("/")[4]
    made = read(find(world, version_id), key)
    shipped = drafts.find_dimension(presets.get_preset("presale").content, "balance")
    assert shipped is not None
    assert made["name"] == shipped["name"]
    assert "".join(made["formula"].split()) == "".join(shipped["formula"].split())
    assert made["formula"].count("\n") > 0
    for bad in ("presale/none", "none/balance", "x"):
        assert supervisor.post(reverse("check_new"), {"template": bad}).status_code == 400


def test_the_list_says_how_many_orders_still_wait_for_the_new_rules(
    supervisor: Client, world: World, published: Version
) -> None:
    with for_environment(world.production):
        for i in range(3):
            make_order(paid_fen=32700 - 100 * i)

    assert "还有 3 张在途订单等着按 v1 评分" in text_of(supervisor.get(reverse("check_list")))

    with for_environment(world.production):
        score_orders(list_due_order_ids(), now=NOW, why="rule", classify=classify)
    page = supervisor.get(reverse("check_list"))
    assert "等着按" not in text_of(page)
    link = re.search(r'<a href="([^"]+failed=price[^"]*)">2</a>', page.content.decode())
    assert link is not None, text_of(page)
    assert "as_of=" in link[1]


def test_without_rules_a_whole_template_makes_the_first_draft(
    supervisor: Client, world: World
) -> None:
    assert "从一个模板开始最快" in text_of(supervisor.get(reverse("check_list")))

    answer = supervisor.post(reverse("check_new"), {"whole": "pay_ship"})

    version = find(world, answer["Location"].split("/")[2])
    assert [d["key"] for d in drafts.list_dimensions(version.content)] == [
        "paid_not_shipped",
        "shipped_not_paid",
    ]


def test_somebody_elses_draft_is_read_and_copied_but_not_written(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    other = sign_in(world, Role.SHOP_OWNER)

    page = other.get(reverse("check_edit", args=[version.public_id, key]))
    refused = save(other, version, key, formula="真")
    copied = other.post(reverse("check_copy", args=[version.public_id, key]))

    assert "复制为我的草稿" in text_of(page)
    assert refused.status_code == 403
    assert find(world, version.public_id).checksum == version.checksum
    copy = find(world, copied["Location"].split("/")[2])
    assert copy.author_id == world.users[Role.SHOP_OWNER].pk


def test_a_check_is_taken_out_and_a_draft_given_up(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)

    supervisor.post(reverse("check_remove", args=[version.public_id, "price"]))
    keys = [d["key"] for d in drafts.list_dimensions(find(world, version.public_id).content)]
    assert keys == ["address", "callback", "stock", "logistics", key]

    supervisor.post(reverse("check_discard", args=[version.public_id]))
    with for_environment(world.production):
        assert [v.state for v in Version.objects.all()] == [State.PUBLISHED]


# --- trying out -----------------------------------------------------------------------------------


def test_results_on_real_orders_come_with_values_and_counts(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    with for_environment(world.production):
        orders = [make_order(paid_fen=32700 - i % 3) for i in range(24)]
    save(
        supervisor,
        version,
        key,
        formula="金额相等(实付金额,应付金额)",
        reason="差 {应付金额-实付金额}",
    )
    address = reverse("check_preview", args=[version.public_id, key])

    body = supervisor.get(address).content.decode()
    one = text_of(supervisor.get(address, {"numbers": orders[1].order_no}))

    assert body.count('data-testid="trial"') == 20
    results = re.findall(r'data-result="(\w+)"', body)
    assert set(results) == {"pass", "fail"}
    assert orders[1].order_no in one
    assert "实付金额 326.99" in one
    assert "差 0.01" in one
    assert "没有找到这些订单号" in text_of(supervisor.get(address, {"numbers": "nothing"}))


def test_a_trace_belongs_to_an_order_of_this_environment(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    save(supervisor, version, key, formula="如果(实付金额>0,通过,不通过)")
    with for_environment(world.production):
        order = make_order()
    with for_environment(world.other):
        foreign = make_order()

    def trace(public_id: str) -> Any:
        return supervisor.get(reverse("check_trace", args=[version.public_id, key, public_id]))

    said = text_of(trace(order.public_id))
    assert "实付金额 327.00 元" in said
    assert "不通过 没有用到" in said
    assert trace(foreign.public_id).status_code == 404


def test_the_comparison_goes_on_where_it_stopped_and_starts_anew_when_the_draft_changed(
    supervisor: Client, world: World, published: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rules_engine.scoring.trials.STEP", 4)
    monkeypatch.setattr("frontend.pages.check_trials.STEP_SECONDS", 0)
    version, key = start(supervisor, world)
    save(supervisor, version, key, formula="真", name="预售", points="0", cap="59")
    with for_environment(world.production):
        for _ in range(10):
            make_order()

    def next_address(answer: Any) -> str:
        found = re.search(r'hx-get="([^"]+impact/\?state=[^"]+)"', answer.content.decode())
        assert found is not None
        return found[1].replace("&amp;", "&")

    first = supervisor.get(reverse("check_impact", args=[version.public_id]))
    assert "已算 4 / 10 张在途订单" in text_of(first)
    second = supervisor.get(next_address(first))
    assert "已算 8 / 10" in text_of(second)
    last = supervisor.get(next_address(second))
    assert "共 10 张在途订单" in text_of(last)

    version = find(world, version.public_id)
    save(supervisor, version, key, formula="假", name="预售", points="0", cap="59")
    assert "已算 4 / 10" in text_of(supervisor.get(next_address(second)))
    forged = supervisor.get(reverse("check_impact", args=[version.public_id]), {"state": "x:y:z"})
    assert "已算 4 / 10" in text_of(forged)


def test_a_draft_that_cannot_run_is_not_compared(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    save(supervisor, version, key, formula="如果(")

    answer = supervisor.get(reverse("check_impact", args=[version.public_id]))

    assert "处要改才能试算" in text_of(answer)
    cell = supervisor.get(reverse("check_impact_orders", args=[version.public_id]), {"cell": "x"})
    assert cell.status_code == 400


# --- files ----------------------------------------------------------------------------------------


def test_an_exported_version_comes_back_as_a_draft(
    supervisor: Client, world: World, published: Version
) -> None:
    text = supervisor.get(reverse("check_export", args=[published.public_id])).content

    answer = supervisor.post(
        reverse("check_import"), {"file": SimpleUploadedFile("规则.yaml", text)}
    )

    assert answer.status_code == 302
    with for_environment(world.production):
        draft = Version.objects.get(state=State.DRAFT)
        assert draft.content == published.content
        assert draft.author_id == world.users[Role.SUPERVISOR].pk


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "没有选文件，或文件是空的"),
        (b"\xff\xfe\x00", "不是 UTF-8 文本"),
        (b"format: hedao/1\nkind: [", "第 2 行不是有效的 YAML"),
        (b"name: x", "不是本系统导出的文件"),
        (
            "format: hedao/1\nkind: rule_set\nkey: default\nname: x\ncontent:\n  name: x\n"
            "  dimensions:\n  - {key: a, name: 甲, formula: 仓库温度>5, points: .nan}\n"
            "  - {key: b, name: 乙, formula: 真, points: 1.0e+308}\n".encode(),
            "第 1 项「甲」：没有字段「仓库温度」",
        ),
        (
            "format: hedao/1\nkind: rule_set\nkey: other\nname: x\ncontent:\n  name: x\n"
            "  dimensions: [{key: a, name: 甲, formula: 真, points: 100}]\n".encode(),
            "不是检查项规则",
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_places_and_makes_nothing(
    supervisor: Client, world: World, content: bytes, said: str
) -> None:
    answer = supervisor.post(
        reverse("check_import"), {"file": SimpleUploadedFile("规则.yaml", content)}
    )

    assert answer.status_code == 400
    assert said in text_of(answer)
    with for_environment(world.production):
        assert Version.objects.count() == 0


# --- who may do what ------------------------------------------------------------------------------

POSTS = (
    "check_new", "check_import", "check_change", "check_discard", "check_edit", "check_balance",
    "check_remove", "check_submit", "check_copy", "check_layout",
)  # fmt: skip


def _address(name: str, version: Version, key: str) -> str:
    arguments = {
        "check_new": [], "check_import": [], "check_change": [key],
        "check_discard": [version.public_id],
    }.get(name, [version.public_id, key])  # fmt: skip
    return reverse(name, args=arguments)


def test_writing_needs_the_right_to_write_rules(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    for role in (Role.AGENT, Role.NEW_AGENT, Role.DIRECTOR, Role.TECH_SUPPORT):
        client = sign_in(world, role)
        for name in POSTS:
            address = _address(name, version, key)
            assert client.post(address, {"formula": "真"}).status_code == 403, (role, name)
        assert client.get(reverse("check_list")).status_code == 200
        assert "新建检查" not in text_of(client.get(reverse("check_list")))
    for name in POSTS:
        assert Client().post(_address(name, version, key))["Location"].startswith("/login/")
    assert find(world, version.public_id).checksum == version.checksum


def test_another_divisions_draft_does_not_exist(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    outsider = sign_in(world, "outsider")
    for name in POSTS[3:]:
        assert outsider.post(_address(name, version, key)).status_code == 404, name
    for name in ("check_draft", "check_export", "check_impact", "check_impact_orders"):
        assert outsider.get(reverse(name, args=[version.public_id])).status_code == 404, name
    for name in ("check_edit", "check_preview"):
        assert outsider.get(reverse(name, args=[version.public_id, key])).status_code == 404
    assert "五维" not in text_of(outsider.get(reverse("check_list")))
    assert find(world, version.public_id).checksum == version.checksum


def test_a_version_of_another_kind_is_not_a_draft_of_checks(
    supervisor: Client, world: World, published: Version
) -> None:
    with for_environment(world.production):
        document = get_or_create_document(kind="node_table", key="default", name="节点表")
        other = create_draft(document, content={}, author=world.users[Role.SUPERVISOR])

    for name in ("check_draft", "check_export", "check_impact"):
        assert supervisor.get(reverse(name, args=[other.public_id])).status_code == 404


def test_reading_never_changes_anything(
    supervisor: Client, world: World, published: Version
) -> None:
    version, key = start(supervisor, world)
    with for_environment(world.production):
        order = make_order()
        before = list(Version.objects.order_by("pk").values())

    for name in POSTS:
        supervisor.get(_address(name, version, key))
    for name in ("check_list", "check_new"):
        assert supervisor.get(reverse(name)).status_code == 200
    for name in ("check_draft", "check_export", "check_impact"):
        supervisor.get(reverse(name, args=[version.public_id]))
    supervisor.get(reverse("check_preview", args=[version.public_id, key]))
    supervisor.get(reverse("check_trace", args=[version.public_id, key, order.public_id]))

    with for_environment(world.production):
        assert list(Version.objects.order_by("pk").values()) == before


def test_the_list_costs_the_same_however_many_versions_and_drafts_there_are(
    supervisor: Client,
    world: World,
    published: Version,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    def add(count: int) -> None:
        with for_environment(world.production):
            for _ in range(count):
                create_draft(
                    published.document,
                    content=published.content,
                    author=world.users[Role.SUPERVISOR],
                    based_on=published,
                )
                retired = create_draft(published.document, content={}, author=None)
                Version.objects.filter(pk=retired.pk).update(state=State.RETIRED, published_at=NOW)

    add(2)
    supervisor.get(reverse("check_list"))
    with CaptureQueriesContext(connection) as few:
        supervisor.get(reverse("check_list"))
    add(10)
    with django_assert_num_queries(len(few)):
        page = supervisor.get(reverse("check_list"))
    assert "生效的是 v1" in text_of(page)
