"""58: keys are rotated beside running workers; a key taken away too early is loud, never blank."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection as database
from django.db import models

from config.audit.models import AuditEntry
from config.sealing import count_stale, reseal
from config.secrets import SecretUnreadable, decrypt, encrypt, list_key_ids
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment, for_tenant
from connectors.orders.models import RAW_PURPOSE, Order, RawPayload
from connectors.shops.connections import change_connection, reveal_secrets
from connectors.shops.models import Connection
from connectors.sync.models import CallLog, InboundMessage, Quarantine
from connectors.tabular.models import (
    CELLS_PURPOSE,
    PROFILE_PURPOSE,
    FileSet,
    ImportRun,
    QuarantineRow,
    StoredFile,
)
from frontend.sealed_columns import SEALED_TABLES
from rules_engine.facts.models import FactSnapshot
from rules_engine.facts.services import open_personal
from rules_engine.rules.services import install_rule_set
from rules_engine.scoring.services import list_due_order_ids, score_orders
from tests.factories import NOW, World, make_order, make_world, page_rules
from tests.frontend import sources
from workflows.causes import classify
from workflows.interventions.models import MENTIONS_PURPOSE, Contact, Delivery, Robot, Topic
from workflows.interventions.people import save_contact
from workflows.interventions.robots import create_robot

HOOK = "https://93.184.216.34/robot/send?access_token=hook-{}"


def make_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def quiet(place: str, done: int, total: int) -> None:
    """Progress nobody looks at."""


def fill(environment: Environment, world: World) -> None:
    """At least one value in every sealed column, by the product's own code where that is short."""
    with for_environment(environment):
        install_rule_set(page_rules(), origin="tests", now=NOW - timedelta(hours=1))
        make_order(raw={"tid": "1", "receiver_name": "王小明"}, remark="请放门口")
        score_orders(list_due_order_ids(), now=NOW, why="clock", classify=classify)
        source = sources.connect(NOW)
        sources.log_call(source, NOW, order_no="1")
        sources.log_message(source, NOW, key="k", order_no="1")
        sources.put_in_quarantine(source, NOW, order_no="1")
        save_contact(world.users["agent"], mobile="13812345678")
        create_robot(
            name="群", webhook=HOOK.format(environment.pk), secret="SEC-1", actor=None, now=NOW
        )
        Delivery.objects.create(
            topic=Topic.RED,
            title="t",
            text="t",
            created_at=NOW,
            not_before=NOW,
            mentions_sealed=encrypt('["13812345678"]', purpose=MENTIONS_PURPOSE),
        )
        files = FileSet.objects.create(name="导入", created_at=NOW)
        StoredFile.objects.create(
            file_set=files,
            key="f",
            name="a.csv",
            path="a",
            size=1,
            sha256="0",
            profile_sealed=encrypt('{"headers": ["收货人"]}', purpose=PROFILE_PURPOSE),
        )
        QuarantineRow.objects.create(
            run=ImportRun.objects.create(name="导入", created_at=NOW),
            file_key="f",
            file_label="a.csv",
            holds="orders",
            line=2,
            code="x",
            reason="x",
            remedy="x",
            cells_sealed=encrypt('{"收货人": "王小明"}', purpose=CELLS_PURPOSE),
        )


def read_all(environment: Environment) -> dict[str, Any]:
    """Every sealed value in clear, by the methods the product reads it with."""
    with for_environment(environment, write=False):
        order, call, delivery = Order.objects.get(), CallLog.objects.get(), Delivery.objects.get()
        return {
            "order": order.reveal_receiver(),
            "raw": decrypt(RawPayload.objects.get().sealed, purpose=RAW_PURPOSE),
            "facts": open_personal(FactSnapshot.objects.get().personal_sealed),
            "secrets": reveal_secrets(Connection.objects.get()),
            "call": (call.reveal("request"), call.reveal("answer")),
            "message": InboundMessage.objects.get().reveal_payload(),
            "quarantine": Quarantine.objects.get().reveal_payload(),
            "mobile": Contact.objects.get().mobile,
            "robot": Robot.objects.get().reveal(),
            "mentions": json.loads(decrypt(delivery.mentions_sealed, purpose=MENTIONS_PURPOSE)),
            "profile": StoredFile.objects.get().profile,
            "cells": QuarantineRow.objects.get().reveal_cells(),
        }


def run(*arguments: str) -> tuple[int, str, str]:
    """The command: exit code, what it printed, what it complained about."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("rotate_keys", *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_every_sealed_column_of_the_schema_is_declared() -> None:
    declared = {(t.model, column) for t in SEALED_TABLES for column in t.purposes}

    found = {
        (model, field.name)
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, models.TextField | models.CharField | models.BinaryField)
        and (field.name == "sealed" or field.name.endswith("_sealed"))
    }
    assert found == declared
    assert len(declared) >= 16


def test_58_every_value_of_every_tenant_opens_with_the_new_key_alone(
    world: World, settings: Any
) -> None:
    old, new = settings.FIELD_KEYS[0], make_key()
    other = make_world("别家集团", prefix="b-")
    Environment.objects.filter(pk=world.staging.pk).update(is_active=False)
    places = [(world.production, world), (world.staging, world), (other.production, other)]
    for environment, owner in places:
        fill(environment, owner)
    before = [read_all(environment) for environment, _ in places]
    for environment, _ in places:  # no column is empty
        assert all(
            value for rows in snapshot(environment).values() for row in rows for value in row
        )
        assert all(snapshot(environment).values())
    settings.FIELD_KEYS = [new, old]
    assert run("--check")[0] == 1

    code, out, err = run("--batch", "1")

    assert (code, err) == (0, "")
    assert "shops_connection.secrets_sealed: 3 values sealed anew" in out
    assert "older keys may be removed" in out
    settings.FIELD_KEYS = [new]
    assert [read_all(environment) for environment, _ in places] == before
    assert run("--check")[0] == 0
    assert run()[1].count("sealed anew") == 0  # nothing is done twice
    with for_tenant(other.tenant, write=False):
        entry = AuditEntry.objects.filter(action="keys.rotate").order_by("position")[0]
    assert entry.details["unreadable"] == {}
    assert old not in str(entry.details)


def test_58_a_run_that_was_broken_off_goes_on_where_it_stopped(world: World, settings: Any) -> None:
    with for_environment(world.production):
        for number in range(6):
            make_order(order_no=f"N{number}", address_detail="")
    settings.FIELD_KEYS = [make_key(), settings.FIELD_KEYS[0]]

    def stop(place: str, done: int, total: int) -> None:
        if place.startswith("orders_order ") and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reseal(SEALED_TABLES, report=stop, batch=2)
    assert count_stale(SEALED_TABLES)["orders_order.phone_sealed"] == 2

    outcome = reseal(SEALED_TABLES, report=quiet, batch=2)

    assert outcome.is_clean
    assert outcome.resealed["orders_order.phone_sealed"] == 2
    assert "orders_order.address_sealed" not in outcome.resealed  # an empty value stays empty
    with for_environment(world.production, write=False):
        assert set(Order.objects.values_list("address_sealed", flat=True)) == {""}


def test_58_a_value_a_worker_writes_meanwhile_with_the_old_key_is_found_too(
    world: World, settings: Any
) -> None:
    old, new = settings.FIELD_KEYS[0], make_key()
    with for_environment(world.production):
        source = sources.connect(NOW)
        make_order(order_no="N1")
    settings.FIELD_KEYS = [new, old]
    wrote = []

    def old_worker(place: str, done: int, total: int) -> None:
        if place.startswith("orders_order ") and not wrote:
            wrote.append(True)
            settings.FIELD_KEYS = [old]
            with for_environment(world.production):
                make_order(order_no="N2")
                later = sources.connect(NOW, name="另一家店")
                Connection.objects.filter(pk=source.pk).update(secrets_sealed=later.secrets_sealed)
            settings.FIELD_KEYS = [new, old]

    outcome = reseal(SEALED_TABLES, report=old_worker)

    assert outcome.is_clean
    settings.FIELD_KEYS = [new]
    with for_environment(world.production, write=False):
        assert all(reveal_secrets(c)["app_secret"] for c in Connection.objects.all())
        assert all(o.reveal_receiver()["phone"] for o in Order.objects.all())


def test_58_workers_that_never_got_the_new_key_keep_the_old_one_needed(
    world: World, settings: Any
) -> None:
    old, new = settings.FIELD_KEYS[0], make_key()
    with for_environment(world.production):
        make_order(order_no="N0")
    settings.FIELD_KEYS = [new, old]
    numbers = iter(range(1, 99))

    def old_worker(place: str, done: int, total: int) -> None:
        if place.startswith("orders_order "):
            settings.FIELD_KEYS = [old]
            with for_environment(world.production):
                make_order(order_no=f"N{next(numbers)}")
            settings.FIELD_KEYS = [new, old]

    outcome = reseal(SEALED_TABLES, report=old_worker)

    assert outcome.left > 0
    assert not outcome.is_clean


def test_58_a_key_removed_too_early_is_an_alarm_and_nothing_is_blanked(
    world: World, settings: Any, caplog: Any
) -> None:
    old, new = settings.FIELD_KEYS[0], make_key()
    fill(world.production, world)
    before = read_all(world.production)
    sealed = snapshot(world.production)
    settings.FIELD_KEYS = [new]

    code, out, err = run()

    assert code == 1
    assert "ALARM shops_connection.secrets_sealed: 1 values cannot be opened" in err
    assert "ALARM orders_order.phone_sealed: 1 values cannot be opened" in err
    assert "put it back" in err
    assert "may be removed" not in out
    assert "no key of FIELD_KEYS opens 1 values of shops_connection.secrets_sealed" in caplog.text
    assert snapshot(world.production) == sealed
    assert run("--check")[0] == 1
    with pytest.raises(SecretUnreadable), for_environment(world.production, write=False):
        Order.objects.get().reveal_receiver()

    settings.FIELD_KEYS = [new, old]
    assert run()[0] == 0
    settings.FIELD_KEYS = [new]
    assert read_all(world.production) == before


def test_58_an_altered_value_is_counted_and_the_rest_is_sealed(world: World, settings: Any) -> None:
    with for_environment(world.production):
        whole, altered = make_order(order_no="N1"), make_order(order_no="N2")
        broken = altered.phone_sealed[:-6] + "AAAA=="
        Order.objects.filter(pk=altered.pk).update(phone_sealed=broken)
    settings.FIELD_KEYS = [make_key(), settings.FIELD_KEYS[0]]

    outcome = reseal(SEALED_TABLES, report=quiet)

    assert outcome.unreadable == {"orders_order.phone_sealed": 1}
    assert outcome.resealed["orders_order.phone_sealed"] == 1
    assert outcome.resealed["orders_order.name_sealed"] == 2
    with for_environment(world.production, write=False):
        assert Order.objects.get(pk=altered.pk).phone_sealed == broken
        assert Order.objects.get(pk=whole.pk).reveal_receiver()["phone"]


@pytest.mark.django_db(transaction=True)
def test_58_secrets_that_change_during_the_run_are_not_overwritten(settings: Any) -> None:
    world = make_world()
    with for_environment(world.production):
        source = sources.connect(NOW)
        for number in range(40):
            make_order(order_no=f"N{number}")
    settings.FIELD_KEYS = [make_key(), settings.FIELD_KEYS[0]]
    last: list[str] = []
    is_over = threading.Event()

    def keep_changing() -> None:
        try:
            number = 0
            while not is_over.is_set():
                number += 1
                with for_environment(world.production):
                    change_connection(
                        source, actor=None, now=NOW, secrets={"app_secret": f"v{number}"}
                    )
                last[:] = [f"v{number}"]
        finally:
            database.close()

    worker = threading.Thread(target=keep_changing)
    worker.start()
    try:
        outcome = reseal(SEALED_TABLES, report=quiet, batch=3)
    finally:
        is_over.set()
        worker.join()

    assert outcome.is_clean
    assert last
    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    with for_environment(world.production, write=False):
        assert reveal_secrets(Connection.objects.get())["app_secret"] == last[0]


def test_progress_is_told_by_table_and_place(world: World, settings: Any) -> None:
    with for_environment(world.production):
        for number in range(3):
            make_order(order_no=f"N{number}")
    settings.FIELD_KEYS = [make_key(), settings.FIELD_KEYS[0]]
    told: list[tuple[str, int, int]] = []
    note: Callable[[str, int, int], None] = lambda *row: told.append(row)  # noqa: E731

    reseal(SEALED_TABLES, report=note, batch=2)

    steps = [(done, total) for place, done, total in told if place.startswith("orders_order (")]
    assert steps == [(2, 3), (3, 3)]
    assert str(world.production) in told[0][0]


def test_the_newest_key_is_named_by_what_it_seals(settings: Any) -> None:
    assert encrypt("x", purpose="a").split(".")[0] == list_key_ids()[0]


def snapshot(environment: Environment) -> dict[str, list[Any]]:
    """Every sealed value as it lies in the database."""
    with for_environment(environment, write=False):
        return {
            table.label: list(
                table.model._default_manager.order_by("pk").values_list("pk", *table.purposes)
            )
            for table in SEALED_TABLES
        }
