"""A channel is its folder and one line: whatever stands in a folder is in the registry, complete."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import connectors.channels
from connectors.adapters import Connector, Messages, Paging, PushRequest
from connectors.channels.registry import CHANNELS
from connectors.orders.canonical import CanonicalOrder
from connectors.wire import SignatureRefused
from tests.connectors.channels.gateways import NOW, Gateway, reply
from tests.connectors.goldens import ROOT, load_case

FOLDER = Path(connectors.channels.__file__).parent
NAMES = sorted(path.name for path in FOLDER.iterdir() if (path / "__init__.py").exists())


def _module(name: str, part: str) -> ModuleType:
    return import_module(f"connectors.channels.{name}.{part}")


def test_every_folder_is_a_channel_of_the_registry_and_the_other_way() -> None:
    assert sorted(CHANNELS) == NAMES
    assert len(NAMES) >= 3


def test_registry_has_one_line_a_channel() -> None:
    """Whoever adds a channel adds its import and its name, and nothing else."""
    lines = (FOLDER / "registry.py").read_text().splitlines()

    for name in NAMES:
        assert len([line for line in lines if name in line.lower()]) == 2
    loose = [line for line in lines if "if " in line or "def " in line]
    assert loose == []


@pytest.mark.parametrize("name", NAMES)
def test_folder_holds_its_own_connector(name: str) -> None:
    connector = _module(name, "connector").CONNECTOR

    assert connector is CHANNELS[name]
    assert (connector.code, connector.kind) == (name, "channel")
    assert name == _module(name, "mapping").CHANNEL


@pytest.mark.parametrize("connector", CHANNELS.values(), ids=list(CHANNELS))
def test_form_says_in_chinese_what_is_asked_and_where_to_find_it(connector: Connector) -> None:
    fields = connector.fields

    assert len({field.name for field in fields}) == len(fields)
    assert any(field.is_secret and field.is_required for field in fields)
    assert all(field.label and _is_chinese(field.help) for field in fields)
    assert _is_chinese(connector.label)
    assert _is_chinese(connector.help)
    assert all(
        field.is_secret for field in fields if "secret" in field.name or "token" in field.name
    )


def _is_chinese(text: str) -> bool:
    return any("一" <= letter <= "鿿" for letter in text)


@pytest.mark.parametrize("connector", CHANNELS.values(), ids=list(CHANNELS))
def test_address_is_a_whole_one_or_everybody_has_his_own(connector: Connector) -> None:
    assert connector.base_url == "" or connector.base_url.startswith("https://")
    assert not connector.base_url.endswith("/")


@pytest.mark.parametrize("connector", CHANNELS.values(), ids=list(CHANNELS))
def test_main_stream_is_read_in_a_direction_that_loses_nothing(connector: Connector) -> None:
    rules = connector.streams["modified"]

    assert rules.paging in {Paging.BACKWARD, Paging.CURSOR}
    assert rules.overlap.total_seconds() >= 600


@pytest.mark.parametrize("connector", CHANNELS.values(), ids=list(CHANNELS))
def test_client_needs_nothing_but_its_access(connector: Connector) -> None:
    client = connector.open(Gateway([reply({})]).access(config={}, secrets={}))

    for name in ("check", "list_orders", "count_orders", "read_order"):
        assert callable(getattr(client, name))


@pytest.mark.parametrize("connector", CHANNELS.values(), ids=list(CHANNELS))
def test_a_connector_says_when_its_vendor_keeps_messages_for_us(connector: Connector) -> None:
    """Nobody fetches them otherwise, and everything else goes on working."""
    client = connector.open(Gateway([reply({})]).access(config={}, secrets={}))

    assert connector.has_queue is isinstance(client, Messages)
    assert (connector.code == "tmall") <= connector.has_queue


@pytest.mark.parametrize("connector", CHANNELS.values(), ids=list(CHANNELS))
def test_golden_orders_pass_through_the_connector(connector: Connector) -> None:
    assert connector.map_order is not None
    for path in sorted((ROOT / connector.code).glob("paid*.json")):
        if ".expected" in path.name:
            continue
        case: Any = load_case(connector.code, path.stem)
        record = connector.map_order(case.get("payload", case), shop="甲店", stages=None).record

        assert isinstance(record, CanonicalOrder)
        assert (record.channel, record.shop) == (connector.code, "甲店")


@pytest.mark.parametrize("connector", CHANNELS.values(), ids=list(CHANNELS))
def test_table_of_the_business_counts_instead_of_the_shipped_one(connector: Connector) -> None:
    assert connector.map_order is not None
    case: Any = load_case(connector.code, "paid")
    payload = case.get("payload", case)
    shipped: Any = connector.map_order(payload, shop="甲店", stages=None).record

    mapped: Any = connector.map_order(
        payload, shop="甲店", stages={shipped.raw_status: "delivered"}
    ).record
    unknown: Any = connector.map_order(payload, shop="甲店", stages={})

    assert (shipped.stage, mapped.stage) == ("await_ship", "delivered")
    assert unknown.record.stage == "unknown"
    assert "unmapped_status" in {notice.code for notice in unknown.notices}


@pytest.mark.parametrize(
    "connector", [c for c in CHANNELS.values() if c.push], ids=lambda c: str(c.code)
)
def test_door_refuses_an_unsigned_push(connector: Connector) -> None:
    assert connector.push is not None
    request = PushRequest("POST", {}, (), b"{}")
    secrets = {"secret": "whsec_" + "A" * 44, "app_secret": "s"}
    with pytest.raises(SignatureRefused):
        connector.push.verify(request, config={}, secrets=secrets, now=NOW)
