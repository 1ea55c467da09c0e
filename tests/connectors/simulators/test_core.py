"""The parts all simulators share: clock, store, faults, outbox, bucket, host and its control page."""

from __future__ import annotations

import functools
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors.simulators.core import (
    KINDS,
    Answer,
    Bucket,
    Call,
    ChangeIndex,
    Clock,
    Faults,
    Feed,
    Host,
    Outbox,
    Store,
    json_answer,
)
from connectors.simulators.life import Life
from connectors.simulators.outbox import post
from tests.connectors.simulators.lives import T0, TMALL_SHOP, make_life, minutes


class Echo:
    """Answers with what it saw."""

    name = "echo"

    def __init__(self) -> None:
        self.seen: list[Call] = []

    def answer(self, call: Call) -> Answer:
        self.seen.append(call)
        return json_answer({"path": call.path, "query": call.query, "at": call.at.isoformat()})


@pytest.fixture
def host() -> Iterator[tuple[Host, Echo, str]]:
    """A host on a standing clock with one app."""
    clock, faults, echo = Clock(T0), Faults(), Echo()
    host = Host({"/echo": echo}, clock, faults, Outbox(clock, faults), silence_seconds=0.2)
    with host.running() as base:
        yield host, echo, base


def _call(
    method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    try:
        connection.request(method, parts.path + "?" + parts.query, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _get(url: str) -> tuple[int, bytes]:
    return _call("GET", url)


def _post(url: str, value: Any, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    given = {"Content-Type": "application/json", **(headers or {})}
    status, body = _call("POST", url, json.dumps(value).encode(), given)
    return status, json.loads(body)


# -- clock, bucket, store ------------------------------------------------------------------------


def test_a_virtual_clock_stands_until_it_is_moved() -> None:
    clock = Clock(T0)
    assert clock.now() == T0 == clock.now()
    clock.advance(timedelta(hours=1))
    assert clock.now() == T0 + timedelta(hours=1)
    clock.set(T0)
    assert clock.now() == T0


def test_a_real_clock_runs_on_from_where_it_is_put() -> None:
    clock = Clock()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    clock.set(T0)
    first = clock.now()
    time.sleep(0.01)
    assert T0 <= first < clock.now()


def test_a_bucket_refuses_after_its_burst_and_says_how_long() -> None:
    bucket = Bucket(rate_per_second=2, burst=3)
    assert [bucket.take(T0) for _ in range(3)] == [0, 0, 0]
    assert bucket.take(T0) == pytest.approx(0.5)
    assert bucket.take(T0 + timedelta(seconds=0.6)) == 0


def test_the_store_keeps_insertion_order_per_channel_and_tells_changes_once() -> None:
    first, second, other = make_life(2), make_life(1), make_life(3, channel="douyin")
    store = Store(first, second, other)
    assert store.of("tmall") == [first, second]
    position, changed = store.changes_since(0)
    assert changed == [first, second, other]
    store.touch(second.order_no, minutes(5))
    assert store.changes_since(position)[1] == [second]
    assert second.touched == (minutes(5),)
    assert store.get("nothing") is None
    assert len(store) == 3


# -- the index of a list and the feed of callbacks -----------------------------------------------


def _numbers(rows: list[tuple[datetime, str]]) -> list[str]:
    return [number for _, number in rows]


def test_an_order_is_listed_under_its_last_change_only() -> None:
    life = make_life(1, paid=minutes(2), shipped=minutes(60))
    index = ChangeIndex(Store(life), "tmall")

    def listed(now: float, start: float, end: float) -> list[str]:
        return _numbers(index.modified(TMALL_SHOP, minutes(now), minutes(start), minutes(end)))

    assert listed(1, -10, 10) == [life.order_no]
    assert listed(3, 1, 10) == [life.order_no]
    assert listed(61, 0, 10) == []
    assert listed(61, 60, 60) == [life.order_no]
    assert listed(-1, -10, 90) == []  # a clock set back: it is not born yet
    assert index.modified("another shop", minutes(61), minutes(0), minutes(90)) == []


def test_a_change_is_listed_only_after_the_orders_lag() -> None:
    life = make_life(1, paid=minutes(2), lag=timedelta(seconds=90))
    index = ChangeIndex(Store(life), "tmall")
    window = (minutes(-10), minutes(10))
    assert index.modified(TMALL_SHOP, minutes(1), *window) == []
    assert index.modified(TMALL_SHOP, minutes(2), *window) == [(minutes(0), life.order_no)]
    assert index.modified(TMALL_SHOP, minutes(3.5), *window) == [(minutes(2), life.order_no)]


def test_lives_added_touched_or_replaced_later_are_found() -> None:
    store = Store()
    index = ChangeIndex(store, "tmall")
    window = (minutes(0), minutes(100))
    assert index.modified(TMALL_SHOP, minutes(9), *window) == []
    store.add(life := make_life(1))
    assert index.modified(TMALL_SHOP, minutes(9), *window) == [(minutes(0), life.order_no)]
    store.touch(life.order_no, minutes(9))
    assert index.modified(TMALL_SHOP, minutes(9), *window) == [(minutes(9), life.order_no)]
    life.paid = minutes(20)
    store.replace(life)
    assert index.modified(TMALL_SHOP, minutes(30), *window) == [(minutes(20), life.order_no)]
    assert index.created(TMALL_SHOP, minutes(30), *window) == [(minutes(0), life.order_no)]


def test_the_index_says_what_a_scan_of_all_lives_says() -> None:
    lives = [
        make_life(n, at=n % 17, paid=minutes(n % 23 + 20), lag=timedelta(seconds=n % 5 * 30))
        for n in range(1, 200)
    ]
    store = Store(*lives)
    index = ChangeIndex(store, "tmall")
    for now in (5, 12, 19, 25, 33, 50):
        if now == 25:
            store.touch(lives[7].order_no, minutes(24))
        found = set(_numbers(index.modified(TMALL_SHOP, minutes(now), minutes(4), minutes(22))))
        seen = {life.order_no: minutes(now) - life.lag for life in lives}
        assert found == {
            life.order_no
            for life in lives
            if life.placed <= seen[life.order_no]
            and minutes(4) <= life.modified_at(seen[life.order_no]) <= minutes(22)
        }


def test_a_feed_tells_every_moment_once_and_nothing_before_its_beginning() -> None:
    def moments(life: Life) -> Iterator[tuple[datetime, str]]:
        yield life.placed, "placed"
        if life.paid is not None:
            yield life.paid, "paid"

    old, new = make_life(1, at=-60, paid=minutes(5)), make_life(2, at=1)
    store = Store(old, new)
    feed = Feed(store, "tmall", moments, since=T0)
    assert [(kind, life) for _, kind, life in feed.due(minutes(2))] == [("placed", new)]
    assert feed.due(minutes(2)) == []
    new.paid = minutes(3)
    store.replace(new)
    assert [(kind, life) for _, kind, life in feed.due(minutes(9))] == [
        ("paid", new),
        ("paid", old),
    ]
    assert feed.due(minutes(99)) == []


# -- faults --------------------------------------------------------------------------------------


def test_a_fault_counts_down_and_fits_only_its_app_operation_and_page() -> None:
    faults = Faults()
    faults.switch("tmall", "list", "half_page", page=2, times=2)
    assert faults.take("douyin", "list", 2) is None
    assert faults.take("tmall", "detail", 2) is None
    assert faults.take("tmall", "list", 1) is None
    assert faults.take("tmall", "list", 2) is not None
    assert faults.take("tmall", "list", 2) is not None
    assert faults.take("tmall", "list", 2) is None
    assert faults.as_list() == []


def test_an_app_does_not_take_what_the_host_or_the_outbox_shows() -> None:
    faults = Faults()
    faults.switch("*", "*", "http_500")
    faults.switch("*", "*", "drop_callback")
    assert faults.take("tmall", "list") is None
    faults.switch("*", "*", "throttle")
    taken = faults.take("tmall", "list")
    assert taken is not None
    assert taken.kind == "throttle"


def test_clearing_one_app_leaves_the_others_faults_on() -> None:
    faults = Faults()
    faults.switch("tmall", "list", "half_page")
    faults.switch("douyin", "list", "half_page")
    faults.clear("tmall")
    assert [fault["app"] for fault in faults.as_list()] == ["douyin"]
    faults.clear()
    assert faults.as_list() == []


def test_an_unknown_fault_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown fault 'tired'"):
        Faults().switch("tmall", "*", "tired")


# -- outbox --------------------------------------------------------------------------------------


class Receiver:
    """Takes callbacks; the first `refusals` get another answer than the platform wants."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals, self.got, self.headers = refusals, [], []  # type: ignore[var-annotated]

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        self.got.append(body)
        self.headers.append(dict(headers))
        return (500, b"") if len(self.got) <= self.refusals else (200, b"success")


def _outbox(receiver: Receiver, faults: Faults) -> tuple[Clock, Outbox]:
    clock = Clock(T0)
    return clock, Outbox(clock, faults, transport=receiver)


def _send(outbox: Outbox, body: bytes = b"1", schedule: tuple[float, ...] = ()) -> None:
    outbox.send(
        app="mall", operation="push", url="http://x/", headers=lambda now: {"At": now.isoformat()},
        body=body, order_no="1", ok=lambda status, _: status == 200, schedule=schedule,
    )  # fmt: skip


def test_a_callback_is_repeated_on_its_schedule_until_it_is_accepted() -> None:
    receiver = Receiver(refusals=2)
    clock, outbox = _outbox(receiver, Faults())
    _send(outbox, schedule=(60, 300, 900))
    assert outbox.deliver_due(clock.now()) == 1
    assert outbox.deliver_due(clock.now()) == 0
    clock.advance(timedelta(seconds=60))
    assert outbox.deliver_due(clock.now()) == 1
    assert outbox.next_due() == clock.now() + timedelta(seconds=300)
    clock.advance(timedelta(seconds=300))
    assert outbox.deliver_due(clock.now()) == 1
    assert outbox.waiting == 0
    assert [(a.attempt, a.status, a.accepted) for a in outbox.ledger] == [
        (1, 500, False), (2, 500, False), (3, 200, True),
    ]  # fmt: skip
    assert len({header["At"] for header in receiver.headers}) == 3


def test_a_receiver_that_cannot_be_reached_is_an_attempt_without_status() -> None:
    def refuse(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        raise ConnectionRefusedError

    clock = Clock(T0)
    outbox = Outbox(clock, Faults(), transport=refuse)
    _send(outbox, schedule=(10,))
    outbox.deliver_due(T0)
    assert [(a.status, a.note) for a in outbox.ledger] == [(0, "ConnectionRefusedError")]
    assert outbox.waiting == 1


@pytest.mark.parametrize(
    ("kind", "seconds", "at_once", "later"),
    [
        ("drop_callback", 0, 0, 0),
        ("delay_callback", 90, 0, 1),
        ("duplicate_callback", 0, 2, 2),
        ("duplicate_callback", 30, 1, 2),
    ],
)
def test_callbacks_are_dropped_delayed_and_doubled(
    kind: str, seconds: float, at_once: int, later: int
) -> None:
    receiver, faults = Receiver(), Faults()
    faults.switch("mall", "push", kind, seconds=seconds, times=1)
    clock, outbox = _outbox(receiver, faults)
    _send(outbox)
    outbox.deliver_due(clock.now())
    assert len(receiver.got) == at_once
    clock.advance(timedelta(minutes=5))
    outbox.deliver_due(clock.now())
    assert len(receiver.got) == later
    if kind == "drop_callback":
        assert [a.note for a in outbox.ledger] == ["dropped"]


def test_many_callbacks_all_arrive() -> None:
    receiver = Receiver()
    clock, outbox = _outbox(receiver, Faults())
    for n in range(50):
        _send(outbox, str(n).encode())
    assert outbox.deliver_due(clock.now()) == 50
    assert sorted(receiver.got) == sorted(str(n).encode() for n in range(50))
    outbox.close()


# -- host ----------------------------------------------------------------------------------------


def test_an_app_sees_the_path_below_its_prefix_and_the_decoded_query(
    host: tuple[Host, Echo, str],
) -> None:
    _, echo, base = host
    status, body = _get(base + "/echo/a/b%20c?x=%E4%B8%AD&x=2&y=")
    assert status == 200
    assert json.loads(body)["path"] == "/a/b c"
    call = echo.seen[0]
    assert call.query == (("x", "中"), ("x", "2"), ("y", ""))
    assert call.raw_target == "/echo/a/b%20c?x=%E4%B8%AD&x=2&y="
    assert call.headers["accept-encoding"] == "identity"
    assert _get(base + "/echoes")[0] == 404


def test_one_connection_carries_several_calls(host: tuple[Host, Echo, str]) -> None:
    connection = http.client.HTTPConnection(host[2].removeprefix("http://"), timeout=5)
    for body in (b"one", b"two"):
        connection.request("POST", "/echo/x", body)
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read()
    assert [call.body for call in host[1].seen] == [b"one", b"two"]
    connection.close()


def test_the_longest_prefix_wins_and_costs_are_counted_without_waiting(
    host: tuple[Host, Echo, str],
) -> None:
    running, _, base = host

    class Inner(Echo):
        name = "inner"

        def operation(self, call: Call) -> tuple[str, int | None]:
            return "named", None

        def answer(self, call: Call) -> Answer:
            time.sleep(0.1)  # as when somebody else has the processor
            return super().answer(call)

    running.apps["/echo/inner"] = Inner()
    _get(base + "/echo/inner/x")
    _get(base + "/echo/x")
    _get(base + "/echo/x")
    counts = {name: count for name, (count, _) in running.costs.items()}
    assert counts == {"inner/named": 1, "echo/x": 2}
    assert all(0 < seconds < 0.1 for _, seconds in running.costs.values())


@pytest.mark.parametrize(("kind", "status"), [("http_500", 500), ("http_503", 503)])
def test_error_pages_leave_the_call_without_effect(
    host: tuple[Host, Echo, str], kind: str, status: int
) -> None:
    host[0].faults.switch("echo", "*", kind, times=1)
    assert _get(host[2] + "/echo/x")[0] == status
    assert host[1].seen == []
    assert _get(host[2] + "/echo/x")[0] == 200


@pytest.mark.parametrize(
    ("kind", "effects"),
    [("refuse_connection", 0), ("timeout_before", 0), ("timeout_after_accept", 1)],
)
def test_a_call_without_an_answer_may_have_had_its_effect(
    host: tuple[Host, Echo, str], kind: str, effects: int
) -> None:
    host[0].faults.switch("echo", "*", kind, times=1, seconds=0.05)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        _get(host[2] + "/echo/x")
    assert len(host[1].seen) == effects


def test_garbage_is_neither_json_nor_xml(host: tuple[Host, Echo, str]) -> None:
    host[0].faults.switch("echo", "*", "garbage", times=1)
    status, body = _get(host[2] + "/echo/x")
    assert status == 200
    with pytest.raises(ValueError, match="codec"):
        json.loads(body)


def test_a_slow_drip_is_complete_in_the_end(host: tuple[Host, Echo, str]) -> None:
    host[0].faults.switch("echo", "*", "slow_drip", times=1, seconds=0.1)
    began = time.monotonic()
    assert json.loads(_get(host[2] + "/echo/x")[1])["path"] == "/x"
    assert time.monotonic() - began > 0.05


def test_a_wrong_clock_moves_what_the_app_calls_now(host: tuple[Host, Echo, str]) -> None:
    host[0].faults.switch("echo", "*", "wrong_clock", seconds=-660, times=1)
    told = json.loads(_get(host[2] + "/echo/x")[1])["at"]
    assert datetime.fromisoformat(told) == T0 - timedelta(seconds=660)


def test_stopping_ends_the_waits_a_fault_began() -> None:
    clock, faults, echo = Clock(T0), Faults(), Echo()
    host = Host({"/echo": echo}, clock, faults, Outbox(clock, faults), silence_seconds=60)
    faults.switch("echo", "*", "timeout_before")
    base = host.start()
    errors: list[Exception] = []

    def call() -> None:
        try:
            _get(base + "/echo/x")
        except (OSError, http.client.HTTPException) as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.2)
    host.stop()
    thread.join(timeout=5)
    assert errors
    assert not thread.is_alive()


def test_on_a_real_clock_the_host_pumps_by_itself() -> None:
    class Ticking(Echo):
        name = "ticking"
        ticks = 0

        def tick(self, now: datetime) -> None:
            self.ticks += 1

    clock, faults, app, receiver = Clock(), Faults(), Ticking(), Receiver()
    outbox = Outbox(clock, faults, transport=receiver)
    with Host({"/t": app}, clock, faults, outbox).running():
        _send(outbox)
        for _ in range(100):
            if receiver.got and app.ticks:
                break
            time.sleep(0.05)
    assert receiver.got
    assert app.ticks


# -- control page --------------------------------------------------------------------------------


def test_the_control_api_switches_faults_and_moves_the_clock(host: tuple[Host, Echo, str]) -> None:
    running, _, base = host
    wish = {"app": "echo", "operation": "x", "kind": "http_500", "times": 1}
    status, state = _post(base + "/_control/faults", wish)
    assert status == 200
    assert state["faults"] == [{**wish, "page": None, "seconds": 0.0}]
    assert _get(base + "/echo/x")[0] == 500
    assert _post(base + "/_control/clock", {"advance_seconds": 90})[0] == 200
    assert running.clock.now() == T0 + timedelta(seconds=90)
    _post(base + "/_control/clock", {"at": "2025-11-12T00:00:00+08:00"})
    assert running.clock.now() == datetime(2025, 11, 11, 16, tzinfo=UTC)
    _post(base + "/_control/faults", {"kind": "garbage"})
    assert _post(base + "/_control/faults/clear", {})[1]["faults"] == []
    assert json.loads(_get(base + "/_control/state")[1])["apps"] == {"/echo": "echo"}


@pytest.mark.parametrize("way", ["API", "page"])
def test_every_fault_is_switched_by_api_and_by_page_and_is_one_that_shows(
    host: tuple[Host, Echo, str], way: str
) -> None:
    """A clock that is wrong by nothing, a push that is late by nothing: nobody would see them."""
    running, _, base = host
    for kind in sorted(KINDS):
        running.faults.clear()
        if way == "API":
            assert _post(base + "/_control/faults", {"kind": kind, "times": 2})[0] == 200
        else:
            form = f"app=echo&operation=*&kind={kind}&page=&times=2&seconds=".encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            assert _call("POST", base + "/_control/faults", form, headers)[0] == 303
        [fault] = running.faults.as_list()
        assert (fault["kind"], fault["times"]) == (kind, 2)
        needs = kind in {"wrong_clock", "slow_drip", "delay_callback", "stale_detail"}
        assert (fault["seconds"] > 0) == needs, kind
    _post(base + "/_control/faults", {"kind": "wrong_clock", "seconds": -700})
    assert running.faults.as_list()[-1]["seconds"] == -700


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/faults", {"kind": "tired"}),
        ("/faults", {"kind": "http_500", "times": "many"}),
        ("/clock", {"at": "2025-11-12T00:00:00"}),
        ("/elsewhere", {}),
        ("/faults", ["not", "an", "object"]),
    ],
)
def test_the_control_api_refuses_what_it_does_not_know(
    host: tuple[Host, Echo, str], path: str, wish: Any
) -> None:
    status, answer = _post(host[2] + "/_control" + path, wish)
    assert status == 400
    assert answer["error"]
    assert host[0].faults.as_list() == []


def test_the_control_api_refuses_another_sites_page(host: tuple[Host, Echo, str]) -> None:
    status, _ = _post(
        host[2] + "/_control/faults", {"kind": "http_500"}, {"Origin": "http://evil.example"}
    )
    assert status == 403
    assert host[0].faults.as_list() == []


def test_the_control_page_shows_faults_callbacks_and_costs_escaped(
    host: tuple[Host, Echo, str],
) -> None:
    running, _, base = host
    empty = _get(base + "/_control/")[1].decode()
    assert "没有打开的故障" in empty
    assert "还没有发出过推送" in empty
    running.faults.switch("echo", "<b>list</b>", "half_page")
    _get(base + "/echo/x")
    page = _get(base + "/_control/")[1].decode()
    assert "&lt;b&gt;list&lt;/b&gt;" in page
    assert "<b>list" not in page
    assert "echo/x" in page
    form = b"app=echo&operation=*&kind=http_503&page=&times=1&seconds=0"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert _call("POST", base + "/_control/faults", form, headers)[0] == 303
    assert "<td>应答 HTTP 503，调用没有生效</td>" in _get(base + "/_control/")[1].decode()
    wrong = form.replace(b"times=1", b"times=0")
    status, body = _call("POST", base + "/_control/faults", wrong, headers)
    assert status == 400
    assert "返回控制台" in body.decode()


def test_a_receiver_that_answers_too_late_did_not_accept(host: tuple[Host, Echo, str]) -> None:
    running, echo, base = host
    clock, faults = Clock(T0), Faults()
    outbox = Outbox(clock, faults, transport=functools.partial(post, timeout=0.1))
    running.faults.switch("echo", "*", "timeout_after_accept", times=1, seconds=0.5)
    for expected in ((0, False, "TimeoutError"), (200, True, "")):
        outbox.send(
            app="mall", operation="push", url=f"{base}/echo/in?shop=1", headers={"X-Sign": "s"},
            body=b"1", order_no="1", ok=lambda status, _: status == 200,
        )  # fmt: skip
        outbox.deliver_due(T0)
        last = outbox.ledger[-1]
        assert (last.status, last.accepted, last.note) == expected
    assert [call.query for call in echo.seen] == [(("shop", "1"),)] * 2
    assert echo.seen[0].headers["x-sign"] == "s"


def test_every_fault_has_its_words_on_the_page(host: tuple[Host, Echo, str]) -> None:
    page = _get(host[2] + "/_control/")[1].decode()
    for kind in KINDS:
        words = page.split(f'<option value="{kind}">')[1].split("<")[0]
        assert words != kind
