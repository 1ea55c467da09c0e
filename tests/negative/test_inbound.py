"""54-56: pushes that are not signed, not ours, not new, not now, or not readable."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.db import connection as database
from django.test import Client

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.shops.connections import change_connection, reveal_secrets
from connectors.shops.models import Connection
from connectors.simulators.douyin_pushes import sign_event
from connectors.simulators.keys import Keys, make_keys
from connectors.simulators.life import Life, LifeLine
from connectors.simulators.qimen import sign_md5
from connectors.sync.models import InboundMessage, Quarantine
from connectors.sync.registry import list_connectors
from connectors.sync.services import forget_old
from tests.connectors.sync.outside import VENDORS, Outside, open_outside
from tests.factories import World, make_world
from tests.negative.attacks import APPS, START

pytestmark = pytest.mark.django_db

DOORS = ["douyin", "mall", "alipay", "wechat_pay", "qimen"]
TIMED = ["mall", "wechat_pay", "qimen"]
JSON_DOORS = ["douyin", "mall", "wechat_pay"]
# What verifies a push and is no secret: it is told openly.
KEYS_IN_CLEAR = ("alipay_public_key", "platform_public_key")
# The header or parameter that holds the signature of a push.
SIGNED_BY = {
    "douyin": "event-sign",
    "mall": "webhook-signature",
    "wechat_pay": "wechatpay-signature",
    "alipay": "sign",
    "qimen": "sign",
}
ORDER_NO = {"douyin": "6917000000000000001"}


@dataclass(frozen=True)
class Push:
    """One HTTP request of a platform, as it left it."""

    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def with_headers(self, **changes: str) -> Push:
        found = {**self.headers, **{k.replace("_", "-"): v for k, v in changes.items()}}
        return replace(self, headers={k: v for k, v in found.items() if v})

    def to(self, environment: Environment, connection: Connection) -> Push:
        """The same push, to another address."""
        return replace(self, path=f"/in/{environment.public_id}/{connection.public_id}/")


class Door:
    """Our address of pushes, with the whole of Django in front of it, at a moment of the test."""

    def __init__(self) -> None:
        self.woken: list[tuple[Any, ...]] = []

    def post(self, push: Push, *, at: datetime) -> Any:
        headers = dict(push.headers)
        content_type = headers.pop("content-type", "application/json")

        def note(*args: Any, **_: Any) -> bool:
            self.woken.append(args)
            return True

        with (
            mock.patch("frontend.inbound.views.timezone.now", return_value=at),
            mock.patch("frontend.inbound.views.enqueue", note),
        ):
            return Client().generic(
                "POST",
                f"{push.path}?{push.query}" if push.query else push.path,
                data=push.body,
                content_type=content_type,
                headers=headers,
            )


@pytest.fixture
def door() -> Door:
    return Door()


def make_life(outside: Outside, app: str) -> Life:
    """An order that has this app say something a minute from now."""
    soon = outside.now() + timedelta(minutes=1)
    is_douyin = app == "douyin"
    values: dict[str, Any] = {
        "order_no": ORDER_NO.get(app, "M0001"),
        "channel": "douyin" if is_douyin else "private_mall",
        "shop": outside.shops["douyin" if is_douyin else "private_mall"],
        "placed": soon - timedelta(seconds=50),
        "paid": soon,
        "lines": [LifeLine("SKU1", "羊绒围巾", 1, 10_000, stock_available=5)],
        "buyer": "b1",
        "receiver": "王女士",
        "phone": "13800001234",
        "province": "浙江省",
        "city": "杭州市",
        "district": "西湖区",
        "detail": "文三路1号",
    }
    if app in {"alipay", "wechat_pay"}:
        values |= {"gateway": app, "gateway_paid": soon}
    if app == "qimen":
        early = outside.now() - timedelta(minutes=30)
        values |= {
            "placed": early, "paid": early, "oms": early, "reviewed": early, "wms": soon,
            "printed": None, "picked": soon + timedelta(hours=9),
        }  # fmt: skip
    return Life(**values)


def capture(outside: Outside, app: str) -> tuple[Connection, Push]:
    """Connect an app and take the first push it sends off the wire, unseen by us so far."""
    taken: list[Push] = []

    def keep(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(url)
        named = {name.lower(): value for name, value in headers.items()}
        taken.append(Push(parts.path, parts.query, named, body))
        return 200, b""

    outside.outbox.transport = keep
    connection = outside.connect(app)
    outside.add(make_life(outside, app))
    outside.pass_time(minutes=2)
    assert taken, f"{app} has sent nothing"
    return connection, taken[0]


def messages(environment: Environment) -> int:
    with for_environment(environment, write=False):
        return int(InboundMessage.objects.count())


def nothing_came_of_it(environment: Environment, door: Door) -> bool:
    with for_environment(environment, write=False):
        return not (
            door.woken
            or InboundMessage.objects.exists()
            or Order.objects.exists()
            or Quarantine.objects.exists()
            or Connection.objects.filter(last_push_at__isnull=False).exists()
        )


def resign(outside: Outside, app: str, push: Push, body: bytes) -> Push:
    """Another body under a signature that holds: what a platform with a bug would send."""
    keys: Keys = outside.keys
    platform: Any = outside.apps[app]
    headers, query = dict(push.headers), push.query
    if app == "douyin":
        method = headers["sign-method"]
        headers["event-sign"] = sign_event(keys.douyin.app_key, body, keys.douyin.secret, method)
    elif app == "mall":
        text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        headers["webhook-signature"] = platform._sign(text)
    elif app == "wechat_pay":
        signed = platform.sign_message(body, outside.now())
        headers |= {name.lower(): value for name, value in signed.items()}
    else:
        params = dict(parse_qsl(query))
        params.pop("sign")
        query = urlencode(params | {"sign": sign_md5(params, body, keys.qimen.secret)})
    return replace(push, headers=headers, query=query, body=body)


def change_signature(push: Push, app: str, signature: str | None) -> Push:
    """The push with another signature, or none."""
    name = SIGNED_BY[app]
    if app not in {"alipay", "qimen"}:
        return replace(
            push,
            headers={k: v for k, v in push.headers.items() if k != name}
            | ({name: signature} if signature else {}),
        )
    text = push.query if app == "qimen" else push.body.decode()
    pairs = [(k, v) for k, v in parse_qsl(text, keep_blank_values=True) if k != name]
    changed = urlencode(pairs + ([(name, signature)] if signature else []))
    if app == "qimen":
        return replace(push, query=changed)
    return replace(push, body=changed.encode())


def test_every_vendor_that_pushes_is_attacked_here() -> None:
    assert {c.code for c in list_connectors() if c.push} == {VENDORS[app][0] for app in DOORS}
    assert {APPS[c.code] for c in list_connectors() if c.push} == set(DOORS)


# -- 54: who signed it -----------------------------------------------------------------------------


@pytest.mark.parametrize("app", DOORS)
def test_a_genuine_push_is_stored_and_somebody_is_woken(
    outside: Outside, door: Door, app: str
) -> None:
    connection, push = capture(outside, app)

    answer = door.post(push, at=outside.now())

    assert answer.status_code == 200
    assert messages(outside.environment) == 1
    assert door.woken == [("patrol.work_messages", outside.environment.pk, connection.pk)]


@pytest.mark.parametrize("app", DOORS)
@pytest.mark.parametrize("signature", [None, "AAAA", "v1,AAAA", "0" * 64, "签名"])
def test_54_a_push_without_a_signature_or_with_a_wrong_one_is_401_and_stores_nothing(
    outside: Outside, door: Door, app: str, signature: str | None
) -> None:
    _, push = capture(outside, app)

    answer = door.post(change_signature(push, app, signature), at=outside.now())

    assert answer.status_code == 401
    assert nothing_came_of_it(outside.environment, door)


@pytest.mark.parametrize("app", DOORS)
def test_54_a_connection_whose_own_key_is_no_key_believes_nobody(
    outside: Outside, door: Door, app: str
) -> None:
    connection, push = capture(outside, app)
    with for_environment(outside.environment):
        row = Connection.objects.get(pk=connection.pk)
        change_connection(
            row, actor=None, now=outside.now(),
            secrets=dict.fromkeys(reveal_secrets(row), "no key"),
            config={**row.config, **dict.fromkeys(KEYS_IN_CLEAR, "no key")},
        )  # fmt: skip

    answer = door.post(push, at=outside.now())

    assert answer.status_code == 401
    assert nothing_came_of_it(outside.environment, door)


@pytest.mark.parametrize("app", DOORS)
def test_54_a_body_that_was_changed_on_its_way_is_401_and_stores_nothing(
    outside: Outside, door: Door, app: str
) -> None:
    _, push = capture(outside, app)
    changed = push.body.replace(b"0", b"1", 1) if app != "alipay" else push.body + b"&a=1"
    assert changed != push.body

    answer = door.post(replace(push, body=changed), at=outside.now())

    assert answer.status_code == 401
    assert nothing_came_of_it(outside.environment, door)


@cache
def keys_of_somebody_else() -> Keys:
    return make_keys()


@contextmanager
def open_other(environment: Environment) -> Iterator[Outside]:
    """The outside of another tenant: the same vendors, other keys."""
    with (
        mock.patch("tests.connectors.sync.outside.shared_keys", keys_of_somebody_else),
        open_outside(environment, at=START) as opened,
    ):
        yield opened


@pytest.mark.parametrize("app", DOORS)
def test_54_another_tenants_key_opens_neither_door(outside: Outside, door: Door, app: str) -> None:
    ours, _ = capture(outside, app)
    other = make_world("别家集团", prefix="b-")
    with open_other(other.production) as outside_of_other:
        theirs, push = capture(outside_of_other, app)
    at = outside.now()

    assert door.post(push.to(outside.environment, ours), at=at).status_code == 401
    assert door.post(push.to(outside.environment, theirs), at=at).status_code == 404
    assert door.post(push.to(other.production, ours), at=at).status_code == 404
    assert nothing_came_of_it(outside.environment, door)
    assert nothing_came_of_it(other.production, door)
    assert door.post(push, at=at).status_code == 200
    assert messages(other.production) == 1
    assert messages(outside.environment) == 0


def test_54_addresses_that_take_nothing_are_all_the_same(
    world: World, outside: Outside, door: Door
) -> None:
    connection, push = capture(outside, "mall")
    silent = outside.connect("oms")
    at, here = outside.now(), outside.environment
    unknown = replace(push, path=f"/in/{here.public_id}/nobody/")
    nowhere = replace(push, path=f"/in/nowhere/{connection.public_id}/")
    foreign = push.to(world.staging, connection)
    with for_environment(here):
        change_connection(connection, actor=None, now=at, is_active=False)

    answers = [
        door.post(p, at=at) for p in (unknown, nowhere, foreign, push, push.to(here, silent))
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert nothing_came_of_it(here, door)


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_54_only_post_is_taken(outside: Outside, method: str) -> None:
    _, push = capture(outside, "mall")

    assert getattr(Client(), method)(push.path).status_code == 405


def test_54_what_is_said_about_a_refused_push_names_nobody(
    outside: Outside, door: Door, caplog: Any
) -> None:
    caplog.set_level("DEBUG")
    _, push = capture(outside, "mall")
    caplog.clear()

    answer = door.post(change_signature(push, "mall", "v1,AAAA"), at=outside.now())

    told = caplog.text + answer.content.decode() + str(dict(answer.items()))
    assert "401" in caplog.text
    for secret in ("王女士", "13800001234", "文三路", outside.keys.mall.secret, "AAAA"):
        assert secret not in told


# -- 55: whether it is new, and of now -------------------------------------------------------------


@pytest.mark.parametrize("app", DOORS)
def test_55_the_same_push_again_has_no_effect(outside: Outside, door: Door, app: str) -> None:
    _, push = capture(outside, app)
    door.post(push, at=outside.now())

    for _ in range(3):
        answer = door.post(push, at=outside.now() + timedelta(seconds=30))
        # The platforms repeat what is not answered with success; the own mall knows 409.
        assert answer.status_code == (409 if app == "mall" else 200)

    assert messages(outside.environment) == 1
    assert len(door.woken) == 1


@pytest.mark.parametrize("app", DOORS)
def test_55_a_push_is_known_after_its_content_was_forgotten(
    outside: Outside, door: Door, app: str
) -> None:
    _, push = capture(outside, app)
    door.post(push, at=outside.now())
    with for_environment(outside.environment):
        InboundMessage.objects.update(state=InboundMessage.State.DONE)
        forget_old(now=outside.now() + timedelta(days=60))
        assert InboundMessage.objects.get().payload_sealed == ""

    door.post(push, at=outside.now())

    assert messages(outside.environment) == 1
    assert len(door.woken) == 1


@pytest.mark.parametrize("app", TIMED)
@pytest.mark.parametrize("minutes", [-10, 10])
def test_55_a_push_signed_ten_minutes_off_is_401_and_stores_nothing(
    outside: Outside, door: Door, app: str, minutes: int
) -> None:
    _, push = capture(outside, app)
    # One second more: the gateway of Qimen grants ten minutes.
    off = timedelta(minutes=minutes) + timedelta(seconds=1 if minutes > 0 else -1)

    answer = door.post(push, at=outside.now() - off)

    assert answer.status_code == 401
    assert nothing_came_of_it(outside.environment, door)
    assert door.post(push, at=outside.now()).status_code == 200


@pytest.mark.parametrize("off", [timedelta(minutes=10), timedelta(hours=-27)])
def test_55_alipay_repeats_for_a_day_and_signs_once_but_never_ahead(
    outside: Outside, door: Door, off: timedelta
) -> None:
    _, push = capture(outside, "alipay")

    assert door.post(push, at=outside.now() - off).status_code == 401
    assert nothing_came_of_it(outside.environment, door)
    # Its last repetition comes 25 hours later, with the time of the first.
    assert door.post(push, at=outside.now() + timedelta(hours=25)).status_code == 200
    assert messages(outside.environment) == 1


@pytest.mark.parametrize(("app", "name"), [("mall", "webhook-timestamp"), ("mall", "webhook-id")])
def test_55_time_and_number_are_signed_with_the_body(
    outside: Outside, door: Door, app: str, name: str
) -> None:
    _, push = capture(outside, app)
    door.post(push, at=outside.now())
    later = outside.now() + timedelta(minutes=30)
    value = str(int(later.timestamp())) if name.endswith("timestamp") else "msg_another"

    answer = door.post(
        replace(push, headers={**push.headers, name: value}),
        at=later if name.endswith("timestamp") else outside.now(),
    )

    assert answer.status_code == 401
    assert messages(outside.environment) == 1


def test_55_douyin_signs_no_time_so_an_old_push_is_taken_once_and_believed_in_nothing(
    outside: Outside, door: Door
) -> None:
    _, push = capture(outside, "douyin")
    late = outside.now() + timedelta(days=2)

    assert door.post(push, at=late).status_code == 200
    assert door.post(push, at=late).status_code == 200

    with for_environment(outside.environment, write=False):
        message = InboundMessage.objects.get()
        assert message.kind == "hint"  # it only has the order read anew
        assert not Order.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_55_the_same_push_in_many_requests_at_once_is_stored_once() -> None:
    world, door = make_world(), Door()
    with open_outside(world.production, at=START) as outside:
        _, push = capture(outside, "mall")
        answers: list[int] = []
        gate = threading.Barrier(4)

        def post() -> None:
            try:
                gate.wait(30)
                response = Client().generic(
                    "POST", push.path, data=push.body, content_type="application/json",
                    headers={k: v for k, v in push.headers.items() if k != "content-type"},
                )  # fmt: skip
                answers.append(response.status_code)
            finally:
                database.close()

        with (
            mock.patch("frontend.inbound.views.timezone.now", outside.now),
            mock.patch("frontend.inbound.views.enqueue", return_value=True),
        ):
            threads = [threading.Thread(target=post) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)

    assert set(answers) <= {200, 409}
    assert 200 in answers
    assert len(answers) == 4
    assert messages(world.production) == 1
    assert door.woken == []


# -- 56: whether it can be read --------------------------------------------------------------------


@pytest.mark.parametrize("app", JSON_DOORS)
def test_56_two_values_under_one_name_are_400_although_they_are_signed(
    outside: Outside, door: Door, app: str
) -> None:
    _, push = capture(outside, app)
    content = json.loads(push.body)
    whole = content[0] if isinstance(content, list) else content
    name = next(iter(whole))
    twice = json.dumps(whole)[:-1] + f", {json.dumps(name)}: {json.dumps(whole[name])}}}"
    body = (f"[{twice}]" if isinstance(content, list) else twice).encode()
    assert json.loads(body) == content  # a careless reader sees nothing

    answer = door.post(resign(outside, app, push, body), at=outside.now())

    assert answer.status_code == 400
    assert answer["X-Field"] == name
    assert nothing_came_of_it(outside.environment, door)


def test_56_a_parameter_that_is_written_twice_is_never_believed_unsigned(
    outside: Outside, door: Door
) -> None:
    _, push = capture(outside, "alipay")
    at = outside.now()

    assert door.post(replace(push, body=push.body + b"&total_amount=0.01"), at=at).status_code in {
        400,
        401,
    }
    assert nothing_came_of_it(outside.environment, door)
    door.post(replace(push, body=b"total_amount=0.01&" + push.body), at=at)
    with for_environment(outside.environment, write=False):
        for message in InboundMessage.objects.all():
            assert message.reveal_payload()["total_amount"] == "100.00"


@pytest.mark.parametrize("app", DOORS)
@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=x", "image/png", "application/octet-stream", "text/html"],
)
def test_56_a_content_type_that_is_no_message_is_415(
    outside: Outside, door: Door, app: str, content_type: str
) -> None:
    _, push = capture(outside, app)

    answer = door.post(push.with_headers(content_type=content_type), at=outside.now())

    assert answer.status_code == 415
    assert nothing_came_of_it(outside.environment, door)


@pytest.mark.parametrize("app", DOORS)
@pytest.mark.parametrize("size", [20 * 1024 * 1024, 2 * 1024 * 1024 + 1])
def test_56_a_body_that_is_too_large_is_413(
    outside: Outside, door: Door, app: str, size: int
) -> None:
    _, push = capture(outside, app)

    answer = door.post(replace(push, body=push.body.ljust(size)), at=outside.now())

    assert answer.status_code == 413
    assert nothing_came_of_it(outside.environment, door)


@pytest.mark.parametrize(
    ("app", "body"),
    [
        *((app, b"[" * 200_000) for app in JSON_DOORS),
        *((app, b'{"a":' * 100_000) for app in JSON_DOORS),
        *((app, b"\xff\xfe\x00") for app in JSON_DOORS),
        *((app, b"") for app in [*JSON_DOORS, "qimen"]),
        ("qimen", b"<a>" * 100_000),
        (
            "qimen",
            b'<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
            b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><request>&c;</request>',
        ),
        (
            "qimen",
            b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><request>&x;</request>',
        ),
    ],
)
def test_56_nonsense_under_a_signature_that_holds_is_refused_and_stores_nothing(
    outside: Outside, door: Door, app: str, body: bytes
) -> None:
    _, push = capture(outside, app)

    answer = door.post(resign(outside, app, push, body), at=outside.now())

    assert answer.status_code in {400, 401}
    assert nothing_came_of_it(outside.environment, door)
