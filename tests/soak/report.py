"""The report of a soaked day: figures as plain values, and a short text."""

from __future__ import annotations

from collections import Counter
from typing import Any

from connectors.simulators.outbox import Attempt
from tests.soak.day import Day
from tests.soak.oracle import Causes, Judged


def make_report(day: Day, judged: Judged, causes: Causes, *, database: str) -> dict[str, Any]:
    """Everything worth keeping of a day, ready for JSON."""
    spent = {name: _as_dict(s) for name, s in sorted(day.spent.items())}
    simulators = sum(seconds for _, seconds in day.outside.host.costs.values())
    simulators += day.spent["simulators: their own clock"].processor
    total = sum(s.processor for s in day.spent.values())
    product = max(total - simulators, 0.001)
    received = sum((t.received.new + t.received.updated for t in day.taken.values()), 0)
    return {
        "orders": len(day.lives),
        "seed": day.seed,
        "database": database,
        "is_good": judged.is_good,
        "lost": len(judged.lost),
        "doubled": len(judged.doubled),
        "differing": len(judged.differing),
        "open_ends": len(judged.open_ends),
        "wrongs": judged.list_wrongs(),
        "causes": {
            "stuck": causes.stuck,
            "recall": round(causes.recall, 4),
            "precision": round(causes.precision, 4),
            "by_cause": {
                name: {"stuck": s, "found": f} for name, (s, f) in causes.by_cause.items()
            },
        },
        "faults": dict(sorted(day.weather.told.items())),
        "events": dict(sorted(day.told.items())),
        "callbacks": _count_callbacks(day.outside.outbox.ledger),
        "calls": {
            name: {"calls": count, "simulator_seconds": round(seconds, 2)}
            for name, (count, seconds) in sorted(day.outside.host.costs.items())
        },
        "spent": spent,
        "processor_seconds": {
            "all": round(total, 1),
            "simulators": round(simulators, 1),
            "product": round(product, 1),
        },
        "per_worker": {
            "records_taken": received,
            "orders_per_second": round(len(day.lives) / product, 1),
            "records_per_second": round(received / product, 1),
        },
    }


def _as_dict(spent: Any) -> dict[str, Any]:
    return {
        "times": spent.times,
        "processor": round(spent.processor, 2),
        "wall": round(spent.wall, 2),
    }


def _count_callbacks(ledger: list[Attempt]) -> dict[str, int]:
    told: Counter[str] = Counter()
    for attempt in ledger:
        word = (
            "dropped"
            if attempt.note == "dropped"
            else "accepted"
            if attempt.accepted
            else "refused"
        )
        told[f"{attempt.app} {word}"] += 1
    return dict(sorted(told.items()))


def say_report(report: dict[str, Any]) -> str:
    """The short text of a report."""
    causes, seconds, worker = report["causes"], report["processor_seconds"], report["per_worker"]
    lines = [
        f"soak: {report['orders']:,} orders, seed {report['seed']}, {report['database']}: "
        + ("GOOD" if report["is_good"] else "WRONG"),
        f"lost {report['lost']}, doubled {report['doubled']}, differing {report['differing']}, "
        f"open ends {report['open_ends']}",
        f"causes: {causes['stuck']} stuck, recall {causes['recall']:.4f}, "
        f"precision {causes['precision']:.4f}",
        *(f"  {name}: {c['found']} of {c['stuck']}" for name, c in causes["by_cause"].items()),
        "faults: " + _list(report["faults"]),
        "happened: " + _list(report["events"]),
        "callbacks: " + _list(report["callbacks"]),
        f"processor: {seconds['all']} s, of it the simulators {seconds['simulators']} s; "
        f"one worker takes in and scores {worker['orders_per_second']} orders/s "
        f"({worker['records_per_second']} records/s)",
        *(
            f"  {name:<34} {s['processor']:8.1f} s processor {s['wall']:8.1f} s wall {s['times']:6}x"
            for name, s in report["spent"].items()
        ),
        *(f"  ! {words}" for words in report["wrongs"]),
    ]
    return "\n".join(lines)


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"
