"""``scot evaluate validate-submission``: files for the CIRR and CIRCO test servers, checked before you send them.

The servers' formats: https://github.com/Cuberick-Orion/CIRR (Test-split_server.md) and https://github.com/miccunifi/CIRCO.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from scot.errors import InvalidInput
from scot.evaluation.annotations import read_json, some
from scot.evaluation.base import Benchmark
from scot.evaluation.benchmarks import BENCHMARKS
from scot.evaluation.rankings import VERSION, needed_names, read_rankings

MAX_BYTES = 5_000_000
"""The largest file that the CIRR server accepts."""


@dataclass(frozen=True)
class SubmissionConfig:
    """Check files for the test servers of CIRR (test1) and CIRCO (test) against the official format.

    Example: scot evaluate validate-submission cirr-test1-recall.json cirr-test1-recall_subset.json --annotations CIRR
    """

    files: tyro.conf.Positional[list[Path]] = field(default_factory=list)
    """The files; their content shows which benchmark each is for."""
    annotations: Path | None = None
    """The folder of that benchmark's annotation files."""


def validate_submission(config: SubmissionConfig) -> int:
    """Check every file and print what it contains.

    Raises:
        NotFound, InvalidInput: the server would refuse a file; the message says why.
    """
    if not config.files:
        raise InvalidInput("give the files to check")
    known: dict[str, Benchmark] = {}
    for file in config.files:
        content = read_json(file)
        name = "cirr" if isinstance(content, dict) and {"version", "metric"} & content.keys() else "circo"
        if name not in known:
            entry = BENCHMARKS[name]
            known[name] = entry.load(entry.config_type()(config.annotations, entry.hidden_split))
        kind, lists = check_submission(file, known[name])
        print(
            f"{file}: {kind} of {name} {known[name].split}, {lists:,} queries, {file.stat().st_size:,} bytes: accepted"
        )
    return 0


def check_submission(file: Path, benchmark: Benchmark) -> tuple[str, int]:
    """Check one file; returns what it ranks and how many queries.

    Raises:
        NotFound, InvalidInput: the server would refuse it.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        raise InvalidInput(f"{file} is not a JSON object of rankings")
    if benchmark.name == "cirr":
        if content.get("version") != VERSION or "metric" not in content:
            raise InvalidInput(f'{file} needs "version": "{VERSION}" and "metric": "recall" or "recall_subset"')
        if (size := file.stat().st_size) > MAX_BYTES:
            raise InvalidInput(f"{file} has {size:,} bytes; the server takes {MAX_BYTES:,}: write it without spaces")
    rankings = read_rankings([file], benchmark)
    ((kind, lists),) = rankings.items()
    (part,) = benchmark.parts
    wrong = []
    name_type = int if benchmark.integers else str
    for query in part.queries:
        ranking = content[query.query_id]
        needed = needed_names(query, part, kind, benchmark)
        if len(ranking) != needed:
            wrong.append(f"{len(ranking)} names instead of {needed} (query {query.query_id})")
        elif not all(type(name) is name_type for name in ranking):
            wrong.append(f"names that are not {name_type.__name__} (query {query.query_id})")
        elif len(lists[""][query.query_id]) < len(ranking):
            wrong.append(f"the reference among the names (query {query.query_id})")
    if wrong:
        raise InvalidInput(f"{file} has {len(wrong):,} rankings that the server refuses: {some(wrong)}")
    return kind, len(part.queries)
