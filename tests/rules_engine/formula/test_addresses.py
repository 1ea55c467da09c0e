"""Addresses in one line are split as people who labelled real ones split them."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules_engine.formula.divisions import find_province, full_province, is_undivided, split_address

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_addresses = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"DATA ABSENT: {SHARED} is not there, no address was compared"
)
BARS = {"province": 0.985, "city": 0.97, "district": 0.89}
COLUMNS = {"province": "prov", "city": "city", "district": "district"}


def read_rows(path: str) -> list[dict[str, str]]:
    with gzip.open(SHARED / path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_like(found: str, labelled: str) -> bool:
    """Labels say 湖州 where we say 湖州市; a municipality's city is implied."""
    short = found.removesuffix("市").removesuffix("省")
    wanted = labelled.split("|")[0].removesuffix("市").removesuffix("省")
    if not wanted:
        return not short or short in ("北京", "天津", "上海", "重庆")
    return bool(short) and (short.startswith(wanted) or wanted.startswith(short))


@needs_addresses
@pytest.mark.shared_data
@pytest.mark.parametrize("level", BARS)
def test_labelled_addresses_are_split_as_labelled(level: str) -> None:
    agreed = Counter(
        is_like(getattr(split_address(row["address"]), level), row[COLUMNS[level]])
        for row in read_rows("address/addresses_labelled.csv.gz")
    )

    assert agreed[True] >= BARS[level] * agreed.total(), agreed


@needs_addresses
@pytest.mark.shared_data
def test_every_province_and_city_of_the_bureau_is_known() -> None:
    provinces = [row["name"] for row in read_rows("china_divisions/provinces.csv.gz")]
    cities = [row["name"] for row in read_rows("china_divisions/cities.csv.gz")]
    named = [name for name in cities if name.endswith(("市", "州", "地区", "盟"))]

    assert len(provinces) == 31
    assert all(full_province(find_province(name) or "") == name for name in provinces)
    assert [name for name in named if split_address(f"{name}建国路 1 号").city != name] == []
    undivided = {name for name in named if is_undivided(name)}
    assert undivided == {"东莞市", "中山市", "儋州市", "嘉峪关市", "三沙市"}


@given(st.text(max_size=80))
def test_splitting_never_loses_its_way(text: str) -> None:
    parts = split_address(text)

    assert all(isinstance(part, str) for part in (parts.province, parts.city, parts.district))
