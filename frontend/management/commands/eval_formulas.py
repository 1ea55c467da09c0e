"""`manage.py eval_formulas FILE.jsonl`: formulas in, answers out, for other programs and tests."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rules_engine.formula.lines import MAX_LINE, PLANS, ZONE, Answerer, write_answer
from rules_engine.formula.values import to_serial


class Command(BaseCommand):
    """Evaluate every line of a file; needs no database, Redis or secret (rules in `lines.py`)."""

    help = "Evaluate formulas from JSON lines; prints one JSON line for each, in order"
    requires_system_checks: list[str] = []  # nothing of ours is touched

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a file of JSON lines, or - for standard input")
        parser.add_argument("--plan", choices=sorted(PLANS), default="row", help="which plan runs")
        parser.add_argument("--now", type=_moment, help="ISO time of NOW(), local (default: now)")

    def handle(self, *args: Any, **options: Any) -> None:
        now = options["now"] or datetime.now(ZONE)
        answerer = Answerer(options["plan"], to_serial(now), time.perf_counter)
        answerer.warm_up()
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # whatever the locale says
        if options["file"] == "-":
            self._answer(sys.stdin.buffer, answerer)
            return
        try:
            with Path(options["file"]).open("rb") as source:
                self._answer(source, answerer)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise CommandError(f"cannot read {options['file']}: {error.strerror}") from error

    def _answer(self, source: BinaryIO, answerer: Answerer) -> None:
        for raw in read_lines(source):
            self.stdout.write(write_answer(answerer.answer(raw)))
            self.stdout.flush()  # somebody may be waiting for each answer


def read_lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines without their ends; of one that is too long only so much that this can be seen."""
    while line := source.readline(MAX_LINE + 1):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = source.readline(MAX_LINE)
        yield line.rstrip(b"\r\n")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not an ISO time: {text!r}") from error
    return moment.astimezone(ZONE) if moment.tzinfo else moment
