"""What people see of a body, and what may be kept of it at all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import pytest

from connectors.sync.masking import is_credential, is_personal, mask_body, mask_value

PAYLOADS = Path(__file__).parents[2] / "payloads"
CASES = sorted(PAYLOADS.glob("*/*"))
# Everybody in the golden payloads: in clear somewhere, found by reading them, not by field names.
PEOPLE = ("张三", "李四", "王五", "文三路 1 号", "文三路1号", "张女士")
PHONE = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
SECRET = "CANARY-5512"

PERSON = {
    "receiver_name": "王小明",
    "receiver_mobile": "13812345678",
    "receiver_address": "文一西路 969 号",
    "buyer_nick": "小明同学",
    "price": "327.00",
    "consign_time": "2025-11-11 10:00:00",
}
GONE = ("小明", "13812345678", "文一西路", "同学")
KEYS = {
    "app_secret": SECRET,
    "access_token": SECRET,
    "session": SECRET,
    "sign": SECRET,
    "paySign": SECRET,
    "event-sign": SECRET,
    "Wechatpay-Signature": SECRET,
    "private_key": SECRET,
    "password": SECRET,
    "Authorization": SECRET,
    "api_v3_key_ciphertext": SECRET,
    "cookie": SECRET,
}


def write_xml(values: dict[str, str]) -> str:
    inner = "".join(f"<{k}>{escape(v)}</{k}>" for k, v in values.items() if "-" not in k)
    return f'<?xml version="1.0"?><request><head>{inner}</head></request>'


FORMS = {
    "json": lambda v: json.dumps({"trade": v}, ensure_ascii=False),
    "json list": lambda v: json.dumps([{"rows": [v, v]}], ensure_ascii=False),
    "escaped json": lambda v: json.dumps({"trade": v}),
    "json in json": lambda v: json.dumps([{"data": json.dumps({"order": v})}]),
    "json in json in json": lambda v: json.dumps({"a": json.dumps({"b": json.dumps(v)})}),
    "xml": write_xml,
    "xml with attributes": lambda v: (
        "<r>" + "".join(f'<a {k}="{x}"/>' for k, x in v.items() if "-" not in k) + "</r>"
    ),
    "xml with sections": lambda v: (
        "<r>"
        + "".join(f"<{k}><![CDATA[{x}]]></{k}>" for k, x in v.items() if "-" not in k)
        + "</r>"
    ),
    "xml with types": lambda v: (
        "<r>" + "".join(f'<{k} type="s">{x}</{k}>' for k, x in v.items() if "-" not in k) + "</r>"
    ),
    "form": urlencode,
    "json in form": lambda v: urlencode({"method": "x", "biz_content": json.dumps(v)}),
    "xml in json": lambda v: json.dumps({"body": write_xml(v)}, ensure_ascii=False),
}


@pytest.mark.parametrize("form", FORMS)
def test_people_see_neither_persons_nor_credentials_in_any_form(form: str) -> None:
    masked = mask_body(FORMS[form](PERSON | KEYS))

    assert not [gone for gone in (*GONE, SECRET) if gone in read(masked)]
    assert "327.00" in read(masked)
    assert "10:00:00" in read(masked).replace("%3A", ":")  # consigned is no signature


@pytest.mark.parametrize("form", FORMS)
def test_what_is_kept_sealed_has_the_persons_but_never_a_credential(form: str) -> None:
    kept = mask_body(FORMS[form](PERSON | KEYS), only_credentials=True)

    assert SECRET not in read(kept)
    assert "13812345678" in read(kept)


@pytest.mark.parametrize("form", [name for name in FORMS if name != "form"])
def test_wherever_a_body_is_cut_nobody_shows(form: str) -> None:
    body = FORMS[form](PERSON | KEYS)

    for end in range(1, len(body)):
        masked = read(mask_body(body[:end]))
        # One character of a name is what the mask itself leaves.
        shown = [gone for gone in ("小明", "1381234", "文一西", "同学", SECRET) if gone in masked]
        assert not shown, (end, masked)
        assert SECRET not in read(mask_body(body[:end], only_credentials=True)), end


def read(text: str) -> str:
    """A text as a person reads it: escapes opened."""
    return re.sub(r"(?:\\)+u([0-9a-f]{4})", lambda m: chr(int(m.group(1), 16)), text)


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_no_golden_payload_shows_a_person_once_it_is_masked(path: Path) -> None:
    text = path.read_text("utf-8")

    masked = read(mask_body(text))

    assert not PHONE.findall(masked)
    assert not [person for person in PEOPLE if person in masked]
    assert masked != text


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_golden_payload_inside_another_is_masked_as_well(path: Path) -> None:
    text = path.read_text("utf-8")

    for body in (json.dumps({"data": text}), json.dumps({"data": text})[: len(text) // 2]):
        masked = read(mask_body(body))
        assert not PHONE.findall(masked)
        assert not [person for person in PEOPLE if person in masked]


def test_the_golden_payloads_have_somebody_to_hide() -> None:
    whole = "".join(path.read_text("utf-8") for path in CASES)

    assert len(CASES) > 100
    assert PHONE.search(whole)
    assert "张三" in whole
    assert "文三路 1 号" in whole


def test_structure_states_and_money_stay() -> None:
    trade = {"status": "WAIT_BUYER_PAY", "payment": 327, "lines": [{"sku_name": "羊绒", "n": None}]}

    assert json.loads(mask_body(json.dumps(trade))) == trade
    assert mask_value({"total": 12, "is_cod": False}) == {"total": 12, "is_cod": False}


@pytest.mark.parametrize(
    "value", [13812345678, "13812345678", ["13812345678"], "电话13812345678。"]
)
def test_a_telephone_number_is_hidden_under_whatever_name(value: object) -> None:
    for name in ("mobile", "x", "remark", "text"):
        assert "13812345678" not in mask_body(json.dumps({name: value}, ensure_ascii=False))


def test_a_whole_branch_under_a_credentials_name_goes() -> None:
    assert mask_value({"token": {"value": SECRET, "more": [SECRET]}}) == {"token": "***"}


def test_plain_text_hides_numbers_only_and_nothing_breaks_it() -> None:
    assert mask_body("call 13812345678 now") == "call 138****5678 now"
    for odd in ("", "{", "[", "<", "<a", '{"', '{"a', '{"a":', '{"a":"\\', "[" * 9999, "=", "&&"):
        mask_body(odd)
        mask_body(odd, only_credentials=True)


def test_names_are_judged_by_their_words() -> None:
    assert all(map(is_credential, KEYS))
    assert not any(map(is_credential, ("consign_time", "designer", "assigned", "signed_for", "n")))
    assert all(map(is_personal, ("receiverName", "encrypt_post_tel", "BUYER_NICK")))
    assert not any(map(is_personal, ("sku_name", "status", "promotion_detail")))
