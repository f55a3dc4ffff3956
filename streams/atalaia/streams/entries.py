"""A series as entries of the changelog: one, or, while its windows are many (a backfill), one and its pages.

The first entry holds what belongs to the series and its alerts, and the windows where they are few. Pages are written
before the entry that says they count, and deleted after the one that says they don't; whatever a crash in between
leaves is either complete or not referred to. Each entry says how much it has applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from atalaia.streams.sequences import Sequences
from atalaia.streams.state import GRANULARITIES, PAGE_MS, Page, PartitionState, Series
from atalaia.streams.window import Window, restored

FEW_WINDOWS: Final = 200
"""That many fit into one entry; fewer than half of them go back into one."""
_PAGE: Final = b"#"
"""Between the series' key, which is a JSON array, and the page."""

Entry = tuple[bytes, bytes | None]


def entries(series: Series, alerts: list[Any] | None, *, epoch: int = 0) -> Iterator[Entry]:
    """Key and value of each entry that is out of date, in the order in which they must be written; None deletes."""
    count = series.window_count()
    if series.pages is None and count <= FEW_WINDOWS:
        yield series.key, _first(series, alerts, _inline(series), epoch)
    elif count <= FEW_WINDOWS // 2:
        pages, series.pages = series.pages or set(), None
        series.dirty_pages.clear()
        yield series.key, _first(series, alerts, _inline(series), epoch)
        yield from ((_page_key(series, page), None) for page in pages)
    else:
        if series.pages is None:
            series.pages = set()
            series.dirty_pages = {
                (index, start // PAGE_MS[index]) for index, held in enumerate(series.windows) for start in held
            }
        # The series as it is now: it may grow while its pages are taken, and they may say more than it, but not less.
        first = _first(series, alerts, None, epoch)
        yield from _pages(series, epoch)
        yield series.key, first


def tombstones(series: Series) -> Iterator[Entry]:
    """What deletes every entry of a series."""
    yield series.key, None
    yield from ((_page_key(series, page), None) for page in series.pages or ())


def stamp(value: bytes) -> tuple[int, int]:
    """The epoch of an entry and how much it has applied: of two of one key the greater is in force."""
    _, last_applied, *more = orjson.loads(value)
    return _epoch(more), last_applied


def load(state: PartitionState, values: Mapping[bytes, bytes], *, touched: float) -> Iterator[tuple[Series, Any]]:
    """Takes every series back; each, with the state of its alerts. Pages that no first entry refers to are left out."""
    pages: list[bytes] = []
    for key, value in values.items():
        if not key.endswith(b"]"):
            pages.append(key)
            continue
        metric_type, last_applied, windows, alerts, *counted = orjson.loads(value)
        series = state.adopt(key, metric_type, last_applied)
        state.epoch = max(state.epoch, _epoch(counted))
        # What an entry from before there were sequences had seen is not known: nothing of it is missing.
        series.sequences = Sequences.load(counted[0]) if counted else Sequences(whole=False)
        if windows is None:
            series.pages = set()
        else:
            _hold(state, series, windows, touched, last_applied)
        yield series, alerts
    for key in pages:
        series_key, _, name = key.rpartition(_PAGE)
        owner = state.series.get(series_key)
        if owner is not None and owner.pages is not None:
            index, number = name.split(b":")
            owner.pages.add((int(index), int(number)))
            _, last_applied, windows, *more = orjson.loads(values[key])
            state.epoch = max(state.epoch, _epoch(more))
            _hold(state, owner, windows, touched, last_applied)


def _pages(series: Series, epoch: int) -> Iterator[Entry]:
    assert series.pages is not None
    # Whoever takes these entries may let the series grow in between: what changes then is for the next time.
    due, series.dirty_pages = series.dirty_pages, set()
    members: dict[Page, list[Window]] = {page: [] for page in due}
    for index, held in enumerate(series.windows):
        for start, window in held.items():
            page = (index, start // PAGE_MS[index])
            if page in members:
                members[page].append(window)
    for page, windows in members.items():
        if windows:
            series.pages.add(page)
            dumps: list[list[Any]] = [[] for _ in GRANULARITIES]
            dumps[page[0]] = [window.dump(series.last_applied) for window in windows]
            yield _page_key(series, page), orjson.dumps([series.metric_type, series.last_applied, dumps, epoch])
        elif page in series.pages:
            series.pages.discard(page)
            yield _page_key(series, page), None


def _hold(state: PartitionState, series: Series, windows: list[list[Any]], touched: float, applied: int) -> None:
    for index, dumps in enumerate(windows):
        for dump in dumps:
            state.hold(series, index, restored(dump, GRANULARITIES[index], touched, applied))


def _first(series: Series, alerts: list[Any] | None, windows: list[list[Any]] | None, epoch: int) -> bytes:
    return orjson.dumps([series.metric_type, series.last_applied, windows, alerts, series.sequences.dump(), epoch])


def _epoch(more: list[Any]) -> int:
    """The last item of an entry; entries from before there were epochs have none."""
    return more[-1] if more and isinstance(more[-1], int) else 0


def _inline(series: Series) -> list[list[Any]]:
    return [[window.dump(series.last_applied) for window in held.values()] for held in series.windows]


def _page_key(series: Series, page: Page) -> bytes:
    return series.key + _PAGE + b"%d:%d" % page
