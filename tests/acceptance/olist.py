"""Acceptance: 8,135 real orders scored as of a moment, with the rule set tests/data/olist_12.yaml.

    .venv/bin/python tests/acceptance/olist.py --data DIR --as-of ISO

Whole files are imported once. Scoring as of T hides occurrences later than T, never deadlines;
orders bought after T are not scored. Prints one JSON line last: {"orders", "bands", "failed"}.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.acceptance import setting  # noqa: E402 - found through the line above


def score_as_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Import, publish the rules, score as of the moment, count."""
    import yaml

    from config.tenancy.scope import for_environment
    from connectors.orders.models import Order
    from rules_engine.rules.services import get_active_rule_set, install_rule_set
    from rules_engine.scoring.models import Score

    moment = arguments.as_of
    folder = setting.find_folder("olist_mapping.yaml", arguments.data)  # before anything is made
    environment = setting.make_environment()
    with for_environment(environment):
        document = yaml.safe_load((setting.DATA / "olist_12.yaml").read_text(encoding="utf-8"))
        install_rule_set(document["content"], origin="tests/data/olist_12.yaml", now=moment)
    setting.import_folder(environment, folder, moment)
    with for_environment(environment, write=False):
        bought = Order.objects.exclude(placed_at__gt=moment).order_by("pk")
        ids = list(bought.values_list("pk", flat=True))
        rules = get_active_rule_set()
    setting.score_all(environment, ids, now=moment, as_of=moment)

    failed: Counter[str] = Counter()
    with for_environment(environment, write=False):
        for keys in Score.objects.exclude(failing="").values_list("failing", flat=True):
            failed.update(keys.split(","))
    bands = setting.count_bands(environment)
    return {
        "orders": sum(bands.values()),
        "bands": bands,
        "failed": {d.key: failed[d.key] for d in rules.dimensions} if rules else {},
    }


if __name__ == "__main__":
    given = setting.read_arguments(__doc__ or "", has_out=False)
    raise SystemExit(setting.run(lambda: score_as_of(given)))
