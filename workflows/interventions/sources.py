"""Late sources: one alert per source and episode, whatever the number of orders behind it."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Max

from connectors.shops.models import Source
from workflows.interventions.groups import Subject, record_notices
from workflows.interventions.models import AlertGroup, SourceAlert, SourceWatch, Topic


def watch_sources(*, now: datetime) -> list[AlertGroup]:
    """Open an alert for each source that fell behind, close those that caught up.

    A source is behind only if it has been fresh before: files of last year never were. Returns the
    groups that gather words.
    """
    sources = list(Source.objects.filter(complete_until__isnull=False).order_by("pk"))
    watches = {w.source_id: w for w in SourceWatch.objects.all()}
    is_open = {a.source_id: a for a in SourceAlert.objects.filter(closed_at__isnull=True)}
    fresh = [s for s in sources if not _is_late(s, now)]
    _record_fresh(fresh, watches, now)
    for source in fresh:
        if source.pk in is_open:
            alert = is_open[source.pk]
            alert.closed_at = now
            alert.save(update_fields=["closed_at"])
    late = [
        s
        for s in sources
        if _is_late(s, now) and s.pk not in is_open and (s.pk in watches or _spoke_in_time(s))
    ]
    if not late:
        return []
    episodes = dict(
        SourceAlert.objects.filter(source__in=late)
        .values("source")
        .annotate(last=Max("episode"))
        .values_list("source", "last")
    )
    alerts = SourceAlert.objects.bulk_create(
        [
            SourceAlert(
                source=s,
                episode=episodes.get(s.pk, 0) + 1,
                complete_until=s.complete_until,
                opened_at=now,
            )
            for s in late
        ]
    )
    return record_notices([Subject(Topic.SOURCE, source_alert=a) for a in alerts], now=now)


def _is_late(source: Source, now: datetime) -> bool:
    return source.complete_until is not None and now - source.complete_until > timedelta(
        minutes=source.lateness_minutes
    )


def _spoke_in_time(source: Source) -> bool:
    """Whether the source was fresh when it last spoke (the patrol may not have looked then)."""
    return source.last_received_at is not None and not _is_late(source, source.last_received_at)


def _record_fresh(fresh: list[Source], watches: dict[int, SourceWatch], now: datetime) -> None:
    """Note the first time a source was seen fresh; that it was is all that counts."""
    SourceWatch.objects.bulk_create(
        [SourceWatch(source=s, fresh_at=now) for s in fresh if s.pk not in watches],
        ignore_conflicts=True,
    )
