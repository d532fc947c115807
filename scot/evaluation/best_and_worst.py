"""A contact sheet of a benchmark's run: the queries answered best, then those answered worst."""

from __future__ import annotations

from PIL import Image

from scot.errors import ImageRefused
from scot.evaluation.base import WHOLE, Part, Query
from scot.evaluation.contact_sheet import SheetRow, contact_sheet
from scot.evaluation.images import Picture
from scot.evaluation.model import ModelRun
from scot.evaluation.scoring import Scores

_ROWS, _HITS = 4, 5


def best_and_worst(run: ModelRun, scores: Scores, *, title: str) -> Image.Image:
    """Draw up to four queries that score highest and four that score lowest, by the sum of what each contributed.

    Each row: the reference, the edit, the first five answers, and a right answer where none of them is one.
    """
    asked = [(part, query) for part in run.benchmark.parts for query in part.queries]
    worth = [
        sum(value for name, value in row.items() if name not in ("part", "query") and "/" not in name)
        for row in scores.per_query
    ]
    order = sorted(range(len(asked)), key=lambda n: -worth[n])
    best = order[: min(_ROWS, (len(order) + 1) // 2)]
    worst = order[len(best) :][-_ROWS:]
    rows = [_row(run, *asked[n]) for n in (*best, *worst)]
    return contact_sheet(rows, title=f"{title}: the {len(best)} best queries, then the {len(worst)} worst")


def _row(run: ModelRun, part: Part, query: Query) -> SheetRow:
    pictures = run.pictures[part.name]
    ranking = run.rankings[WHOLE][part.name][query.query_id]
    hits = [
        (_shown(pictures[name]), "right" if name in query.targets else f"rank {place}", name in query.targets)
        for place, name in enumerate(ranking[:_HITS], 1)
    ]
    if not any(right for _, _, right in hits):
        target = query.targets[0]
        place = f"right, at rank {ranking.index(target) + 1}" if target in ranking else f"right, not in {len(ranking)}"
        hits.append((_shown(pictures[target]), place, True))
    return SheetRow(_shown(pictures[query.reference]), query.edits[0], hits)


def _shown(picture: Picture) -> Image.Image:
    try:
        return picture.load()
    except ImageRefused:  # gone since it was encoded
        return Image.new("RGB", (64, 64), (225, 225, 225))
