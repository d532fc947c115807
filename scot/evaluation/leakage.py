"""``scot evaluate leakage``: does the training data of a composer contain a benchmark's texts?

Zero-shot means that it does not. Two texts are equal if only case, punctuation and spacing differ; nearly
equal if the Jaccard similarity of their words reaches a threshold. All pairs over the threshold are found, without
sampling: a text shares one of its few rarest words with each of its near-duplicates (prefix filtering, Bayardo et al.,
WWW 2007), and only those are compared.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from scot.data.storage import Folder
from scot.data.triplets import iterate_triplets, read_manifest
from scot.errors import InvalidFlag
from scot.evaluation.benchmarks import BENCHMARKS

COLUMNS = ("caption", "edit", "edited_caption")
"""The texts of a triplet."""

if TYPE_CHECKING:
    PublishedBenchmark = str
else:
    PublishedBenchmark = Literal[tuple(name for name, entry in BENCHMARKS.items() if not entry.drawn)]

_REORDERED = 0.999
"""The similarity of texts with the same words in another order: nearly equal."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class LeakageConfig:
    """Compare the captions and edits of a folder of triplets with a benchmark's texts.

    Example: scot evaluate leakage scot-demo/triplets --benchmark cirr --annotations CIRR
    """

    triplets: tyro.conf.Positional[Path]
    """A folder of triplets."""
    benchmark: PublishedBenchmark = "cirr"
    """The benchmark whose texts are compared."""
    annotations: Path | None = None
    """The folder of the benchmark's annotation files."""
    split: str = "val"
    """The split."""
    threshold: float = 0.8
    """Jaccard similarity of the words from which two texts are near-duplicates, over 0 to 1."""
    least_words: int = 1
    """Texts of fewer words are not compared; "is red" occurs everywhere."""
    show: int = 10
    """The number of overlaps to print."""
    json: Path | None = None
    """Also write all overlaps to this file."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A text of the triplets that a benchmark contains too, exactly (``similarity`` 1) or nearly."""

    column: str
    text: str
    benchmark_text: str
    similarity: float
    triplets: int


@dataclass(frozen=True, slots=True)
class Leakage:
    """What was compared, and the overlaps: the most similar first, then the longest."""

    benchmark: str
    split: str
    triplets: int
    texts: int
    benchmark_texts: int
    queries: int
    queries_touched: int
    overlaps: tuple[Overlap, ...]

    def count(self, column: str, *, exact: bool) -> int:
        """How many distinct texts of a column overlap, exactly or nearly."""
        return sum(each.column == column and (each.similarity == 1.0) == exact for each in self.overlaps)


def leakage(config: LeakageConfig) -> int:
    """Compare, print, and write JSON if asked to.

    Raises:
        NotFound, InvalidInput: the triplets or the annotations cannot be read, or a setting is out of range.
    """
    found = find_leakage(config)
    print(f"{found.triplets:,} triplets with {found.texts:,} distinct texts, compared with")
    print(f"{found.benchmark_texts:,} distinct texts of {found.queries:,} queries of {found.benchmark} {found.split}")
    print(f"\n{'texts of':<16}{'equal':>10}{'nearly':>10}")
    for column in COLUMNS:
        exact, near = (found.count(column, exact=exact) for exact in (True, False))
        print(f"{column:<16}{exact:>10,}{near:>10,}")
    share = found.queries_touched / found.queries
    print(f"\n{found.queries_touched:,} queries ({share:.1%}) have a text that is also in the triplets, or nearly so")
    for each in found.overlaps[: max(0, config.show)]:
        print(f"  {each.similarity:.2f} {each.column}, {each.triplets:,} triplets: {each.text} | {each.benchmark_text}")
    if config.json is not None:
        result = {**asdict(found), "threshold": config.threshold, "least_words": config.least_words}
        Folder(config.json.parent).write(config.json.name, (json.dumps(result, indent=2) + "\n").encode())
    return 0


def find_leakage(config: LeakageConfig) -> Leakage:
    """Read the triplets shard by shard and compare every distinct text once. Raises as :func:`leakage`."""
    if not 0.0 < config.threshold <= 1.0:
        raise InvalidFlag(f"--threshold must be over 0 and at most 1, not {config.threshold:g}")
    manifest = read_manifest(config.triplets)
    texts = benchmark_texts(config)
    index = TextIndex(texts, threshold=config.threshold)
    counts: dict[str, Counter[str]] = {column: Counter() for column in COLUMNS}
    for table in iterate_triplets(config.triplets):
        for column in COLUMNS:
            counts[column].update(table[column].to_pylist())
    overlaps: list[Overlap] = []
    touched: set[str] = set()
    for column, counter in counts.items():
        for text, triplets in counter.items():
            if len(words(text)) < config.least_words:
                continue
            similar = index.similar(text)
            if similar:
                touched.update(query for match in similar for query in texts[match])
                best = max(similar, key=lambda match: similar[match])
                overlaps.append(Overlap(column, text, best, similar[best], triplets))
    overlaps.sort(key=lambda each: (-each.similarity, -len(words(each.text)), each.column, each.text))
    return Leakage(
        benchmark=config.benchmark,
        split=config.split,
        triplets=manifest.count,
        texts=len({text for counter in counts.values() for text in counter}),
        benchmark_texts=len(texts),
        queries=len({query for queries in texts.values() for query in queries}),
        queries_touched=len(touched),
        overlaps=tuple(overlaps),
    )


def benchmark_texts(config: LeakageConfig) -> dict[str, set[str]]:
    """Each text of a split, as its annotators wrote it, to the queries that have it (``part/query``)."""
    entry = BENCHMARKS[config.benchmark]
    benchmark = entry.load(entry.config_type()(config.annotations, config.split))
    texts: dict[str, set[str]] = defaultdict(set)
    for part in benchmark.parts:
        for query in part.queries:
            for text in query.texts:
                texts[text].add(f"{part.name}/{query.query_id}")
    return dict(texts)


def words(text: str) -> list[str]:
    """The words of a text without case, accents' encoding and punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class TextIndex:
    """Finds every text whose words have a Jaccard similarity of at least ``threshold`` with a given text's."""

    def __init__(self, texts: Iterable[str], *, threshold: float) -> None:
        self._threshold = threshold
        self._equal: dict[str, list[str]] = defaultdict(list)
        self._words: dict[str, frozenset[str]] = {}
        self._with: dict[str, list[str]] = defaultdict(list)
        for text in texts:
            sequence = words(text)
            self._equal[" ".join(sequence)].append(text)
            self._words[text] = frozenset(sequence)
        frequency = Counter(word for each in self._words.values() for word in each)
        self._rarity: Mapping[str, tuple[int, str]] = {word: (count, word) for word, count in frequency.items()}
        for text, said_words in self._words.items():
            for word in self._prefix(said_words):
                self._with[word].append(text)

    def similar(self, text: str) -> dict[str, float]:
        """Indexed text to its similarity; 1 for equal word sequences, less for everything else."""
        sequence = words(text)
        wanted = frozenset(sequence)
        found: dict[str, float] = {}
        for other in dict.fromkeys(each for word in self._prefix(wanted) for each in self._with.get(word, ())):
            theirs = self._words[other]
            similarity = len(wanted & theirs) / len(wanted | theirs)
            if similarity >= self._threshold:
                found[other] = min(similarity, _REORDERED)
        return found | dict.fromkeys(self._equal.get(" ".join(sequence), ()) if sequence else (), 1.0)

    def _prefix(self, wanted: frozenset[str]) -> list[str]:
        """The rarest words: two sets of that similarity share one of them, whatever their other words are.

        A set of n words shares at least ⌈t·n⌉ with a similar one, so they cannot all be among its n − ⌈t·n⌉ others.
        """
        ordered = sorted(wanted, key=lambda word: self._rarity.get(word, (0, word)))
        return ordered[: len(wanted) - math.ceil(self._threshold * len(wanted) - 1e-9) + 1]
