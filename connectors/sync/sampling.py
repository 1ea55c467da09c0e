"""A system connected by a form: a sample of its answer to pick fields from, and what they make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from config.errors import AppError, Phrase
from config.tenancy.models import Environment
from connectors.orders.canonical import CanonicalReceipt
from connectors.sync.registry import get_connector
from connectors.sync.trying import explain_failure, open_unsaved
from connectors.systems.oms.client import TestCall

PREVIEW_REACH = timedelta(days=1)
PREVIEWED = 3


@dataclass(frozen=True)
class Sample:
    """What one call of the list gave, or the words that say why it gave nothing, and their code."""

    call: TestCall | None
    words: Phrase | None = None
    code: str = ""


@dataclass(frozen=True)
class PreviewRow:
    """One row as it will be taken in, or why it cannot be."""

    receipt: CanonicalReceipt | None = field(default=None, repr=False)
    words: Phrase | None = None


def take_sample(
    environment: Environment,
    *,
    vendor: str,
    base_url: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    now: datetime,
) -> Sample:
    """Call the list once, while its fields are still to be picked. Outside any scope; never raises
    for what the outside does.
    """
    try:
        client = open_unsaved(
            environment, vendor=vendor, base_url=base_url, config=config, secrets=secrets,
            shop="", now=now, heard=[],
        )  # fmt: skip
        return Sample(client.test_call(now))
    except AppError as error:
        return Sample(None, explain_failure(error), error.code)


def preview_rows(
    environment: Environment,
    *,
    vendor: str,
    base_url: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    now: datetime,
) -> list[PreviewRow]:
    """The first rows of the last day as the form maps them. Outside any scope.

    Raises AppError when the list cannot be read.
    """
    connector = get_connector(vendor)
    client = open_unsaved(
        environment, vendor=vendor, base_url=base_url, config=config, secrets=secrets,
        shop="", now=now, heard=[],
    )  # fmt: skip
    rules = connector.list_streams(config)["modified"]
    listed = client.list_orders(
        "modified", now - PREVIEW_REACH, now, page=rules.first_page, cursor=""
    )
    return [_map(connector, row.payload) for row in listed.rows[:PREVIEWED] if row.payload]


def _map(connector: Any, payload: Mapping[str, object]) -> PreviewRow:
    try:
        return PreviewRow(connector.map_order(payload, shop="").record)
    except AppError as error:
        return PreviewRow(words=Phrase(error.message, error.params))
