"""Acceptance: a promo day through import and scoring with the shipped promo model.

    .venv/bin/python tests/acceptance/promo.py --data DIR --as-of ISO [--out FILE.csv]

Prints one JSON line last: {"orders", "bands", "causes"}. FILE.csv gets order_no,band,cause of every
order below healthy.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.acceptance import setting  # noqa: E402 - found through the line above


def find_stuck(arguments: argparse.Namespace) -> dict[str, Any]:
    """Import, score, count; write the stuck orders to --out."""
    from config.tenancy.scope import for_environment
    from rules_engine import presets
    from rules_engine.scoring.models import Score
    from rules_engine.scoring.services import list_due_order_ids

    moment = arguments.as_of
    folder = setting.find_folder("promo_mapping.yaml", arguments.data)  # before anything is made
    environment = setting.make_environment()
    with for_environment(environment):
        presets.install("promo", moment)
    setting.import_folder(environment, folder, moment)
    with for_environment(environment, write=False):
        due = list_due_order_ids()
    setting.score_all(environment, due, now=moment)

    with for_environment(environment, write=False):
        stuck = list(
            Score.objects.exclude(band="healthy")
            .order_by("order__order_no")
            .values_list("order__order_no", "band", "cause")
        )
    if arguments.out:
        with arguments.out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["order_no", "band", "cause"])
            writer.writerows(stuck)
    bands = setting.count_bands(environment)
    causes = Counter(cause for _number, _band, cause in stuck)
    return {"orders": sum(bands.values()), "bands": bands, "causes": dict(causes.most_common())}


if __name__ == "__main__":
    given = setting.read_arguments(__doc__ or "", has_out=True)
    raise SystemExit(setting.run(lambda: find_stuck(given)))
