"""Contact sheets of a benchmark's run: an even sample of the queries, or the best answered and then the worst."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from scot.errors import ImageRefused
from scot.evaluation.base import WHOLE, Benchmark, Part, Query, Rankings
from scot.evaluation.contact_sheet import SheetRow, contact_sheet
from scot.evaluation.images import ImageFile
from scot.evaluation.model import EncodedBenchmark
from scot.evaluation.scoring import Scores

_ROWS, _HITS = 8, 5


def even_sample(encoded: EncodedBenchmark, rankings: Rankings, *, title: str) -> Image.Image:
    """Draw up to eight queries at even distances, whatever their answers."""
    queries = _queries(encoded.benchmark)
    chosen = queries[:: max(1, len(queries) // _ROWS)][:_ROWS]
    return _sheet(encoded, rankings, chosen, f"{title}: reference, edit, first {_HITS} answers (right ones framed)")


def best_and_worst(encoded: EncodedBenchmark, rankings: Rankings, scores: Scores, *, title: str) -> Image.Image:
    """Draw up to four queries that score highest and four that score lowest, by the sum of what each contributed."""
    queries = _queries(encoded.benchmark)
    worth = [
        sum(value for name, value in row.items() if name not in ("part", "query") and "/" not in name)
        for row in scores.per_query
    ]
    order = sorted(range(len(queries)), key=lambda n: -worth[n])
    best = order[: min(_ROWS // 2, (len(order) + 1) // 2)]
    worst = order[len(best) :][-_ROWS // 2 :]
    title = f"{title}: the {len(best)} best queries, then the {len(worst)} worst"
    return _sheet(encoded, rankings, [queries[n] for n in (*best, *worst)], title)


def _queries(benchmark: Benchmark) -> list[tuple[Part, Query]]:
    return [(part, query) for part in benchmark.parts for query in part.queries]


def _sheet(
    encoded: EncodedBenchmark, rankings: Rankings, queries: Sequence[tuple[Part, Query]], title: str
) -> Image.Image:
    """Each row: the reference, the edit, the first five answers, and a right answer where none of them is one."""
    rows = []
    for part, query in queries:
        images = encoded.images[part.name]
        ranking = rankings[WHOLE][part.name][query.query_id]
        hits = [
            (_load(images[name]), "right" if name in query.targets else f"rank {place}", name in query.targets)
            for place, name in enumerate(ranking[:_HITS], 1)
        ]
        if not any(right for _, _, right in hits):
            target = query.targets[0]
            place = f"at rank {ranking.index(target) + 1}" if target in ranking else f"not in {len(ranking)}"
            hits.append((_load(images[target]), f"right, {place}", True))
        rows.append(SheetRow(_load(images[query.reference]), query.edits[0], hits))
    return contact_sheet(rows, title=title)


def _load(image: ImageFile) -> Image.Image:
    try:
        return image.load()
    except ImageRefused:  # deleted or changed since it was encoded
        return Image.new("RGB", (64, 64), (225, 225, 225))
