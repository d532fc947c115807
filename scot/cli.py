"""The ``scot`` command: one subcommand a thing that people do. ``scot COMMAND --help`` has the flags and an example."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from scot import __version__, flags

SUMMARIES = {
    "demo": "draw, learn, index, serve and search on this machine",
    "serve": "start the search service here",
    "search": "ask a running service: a picture, what to change, the pictures found",
    "index": "put a folder of captioned pictures into a running service",
    "status": "whether a service answers, with which encoder and composers, over how many items",
    "profile": "where the time of one query goes, stage by stage",
    "evaluate": "composers, baselines and oracle side by side on drawn galleries, with contact sheets",
    "evaluate cirr": "CIRR by its authors' protocol: score ranking files, or run a model",
    "evaluate fashioniq": "FashionIQ likewise",
    "evaluate circo": "CIRCO likewise",
    "evaluate genecis": "GeneCIS likewise",
    "evaluate wardrobe": "the drawn world wardrobe likewise",
    "evaluate scenes": "the drawn world scenes likewise",
    "evaluate validate-submission": "check files for the CIRR and CIRCO test servers",
    "evaluate leakage": "compare the texts of triplets with a benchmark's",
    "draw": "draw captioned pictures of a world, with queries whose answers are known",
    "edits report": "what a folder of triplets holds: acceptance, lengths, similarities, a sample",
    "edits serve": "start the service that writes edits of captions",
    "keys new": "make an API key for a service: a line for its keys file",
    "collections list": "the collections of a store: items, encoder, indexes, aliases",
    "collections create": "make a collection with payload indexes and quantisation, before it is filled",
    "collections reindex": "build a new collection from captioned pictures beside the one that serves",
    "collections swap": "let an alias mean another collection, from one request to the next",
    "collections rollback": "let an alias mean again what it meant before the last swap",
    "collections drop": "delete a collection that no alias points to",
    "composers list": "the composers of a registry: encoder, size, recall, which one is released",
    "composers compare": "two composers on drawn galleries, with intervals",
    "composers promote": "release a composer, if it is measurably no worse than the released one",
    "composers rollback": "release again what was released before",
    "cluster submit": "run a job on Kubernetes, on a Ray cluster of its own, and show its log",
    "cluster list": "the jobs of a release",
    "cluster logs": "the log of a job, until it ends",
    "cluster cancel": "stop a job and remove it",
    "cluster promote": "release a composer in a running system, if it passes the gate and is then served",
    "cluster run-pipeline": "edits, embeddings, a composer, its evaluation and its promotion, one after the other",
}

_BENCHMARK = "scot.evaluation.run:evaluate_benchmark"

# Where each command's typed flags and its function are: imported only when asked for, so that a search starts quickly.
_PLACES = {
    "demo": ("scot.demo.config:DemoConfig", "scot.demo.run:demo"),
    "search": ("scot.commands.search:SearchConfig", "scot.commands.search:search"),
    "index": ("scot.commands.index:IndexConfig", "scot.commands.index:index"),
    "status": ("scot.commands.status:StatusConfig", "scot.commands.status:status"),
    "profile": ("scot.commands.profile:ProfileConfig", "scot.commands.profile:profile"),
    "evaluate": ("scot.evaluation.world_run:EvaluateConfig", "scot.evaluation.world_run:evaluate"),
    "evaluate cirr": ("scot.evaluation.cirr:CirrConfig", _BENCHMARK),
    "evaluate fashioniq": ("scot.evaluation.fashioniq:FashionIqConfig", _BENCHMARK),
    "evaluate circo": ("scot.evaluation.circo:CircoConfig", _BENCHMARK),
    "evaluate genecis": ("scot.evaluation.genecis:GenecisConfig", _BENCHMARK),
    "evaluate wardrobe": ("scot.evaluation.worlds:WardrobeConfig", _BENCHMARK),
    "evaluate scenes": ("scot.evaluation.worlds:ScenesConfig", _BENCHMARK),
    "evaluate validate-submission": (
        "scot.evaluation.submissions:SubmissionConfig",
        "scot.evaluation.submissions:validate_submission",
    ),
    "evaluate leakage": ("scot.evaluation.leakage:LeakageConfig", "scot.evaluation.leakage:leakage"),
    "draw": ("scot.worlds.drawing:DrawConfig", "scot.worlds.drawing:draw"),
    "edits report": ("scot.edits.report:ReportConfig", "scot.edits.report:report"),
    "keys new": ("scot.commands.keys:NewConfig", "scot.commands.keys:new"),
    "collections list": ("scot.commands.collections:ListConfig", "scot.commands.collections:list_collections"),
    "collections create": ("scot.commands.collections:CreateConfig", "scot.commands.collections:create"),
    "collections reindex": ("scot.commands.reindex:ReindexConfig", "scot.commands.reindex:reindex"),
    "collections swap": ("scot.commands.collections:SwapConfig", "scot.commands.collections:swap"),
    "collections rollback": ("scot.commands.collections:RollbackConfig", "scot.commands.collections:rollback"),
    "collections drop": ("scot.commands.collections:DropConfig", "scot.commands.collections:drop"),
    "composers list": ("scot.commands.composers:ListConfig", "scot.commands.composers:list_composers"),
    "composers compare": ("scot.commands.composers:CompareConfig", "scot.commands.composers:compare"),
    "composers promote": ("scot.commands.composers:PromoteConfig", "scot.commands.composers:promote"),
    "composers rollback": ("scot.commands.composers:RollbackConfig", "scot.commands.composers:rollback"),
    "cluster submit": ("scot.commands.cluster:SubmitConfig", "scot.commands.cluster:submit"),
    "cluster list": ("scot.commands.cluster:ListConfig", "scot.commands.cluster:list_jobs"),
    "cluster logs": ("scot.commands.cluster:LogsConfig", "scot.commands.cluster:logs"),
    "cluster cancel": ("scot.commands.cluster:CancelConfig", "scot.commands.cluster:cancel"),
    "cluster promote": ("scot.commands.promote:PromoteConfig", "scot.commands.promote:promote"),
    "cluster run-pipeline": ("scot.commands.pipeline:PipelineConfig", "scot.commands.pipeline:run_pipeline"),
}

# A process of its own, in place of this one: Ctrl-C reaches the service and nothing else.
_SERVICES = {"serve": "services.search.local", "edits serve": "services.edits"}


def commands() -> dict[str, type]:
    """Every subcommand that runs in this process, with its typed flags (what serves is a process of its own)."""
    return {name: _imported(config) for name, (config, _) in _PLACES.items()}


def words_of(arguments: Sequence[str]) -> int:
    """How many words at the start of a command line name the command: two in a group such as ``edits``."""
    grouped = any(name.startswith(f"{arguments[0]} ") for name in SUMMARIES) if arguments else False
    return 2 if grouped and len(arguments) > 1 and not arguments[1].startswith("-") else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code: 0 done, 1 refused with a sentence, 2 a wrong flag, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    words = words_of(arguments)
    command, rest = " ".join(arguments[:words]) or "--help", arguments[words:]
    if command in ("--help", "-h", "help"):
        print(_usage())
        return 0
    if command in ("--version", "-V"):
        print(f"scot {__version__}")
        return 0
    if command not in SUMMARIES:
        print(f"scot: there is no command {command!r}; try scot --help", file=sys.stderr)
        return 2
    if command in _SERVICES:
        os.execv(sys.executable, [sys.executable, "-m", _SERVICES[command], *rest])
    config, function = _PLACES[command]
    return flags.run(f"scot {command}", _imported(function), _imported(config), rest)


def _imported(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def _usage() -> str:
    width = max(map(len, SUMMARIES))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in SUMMARIES.items()]
    return "\n".join(
        [
            "usage: scot COMMAND [flags]",
            "",
            "Composed image search: show a picture, say what to change, get the pictures you mean.",
            "",
            *lines,
            "",
            "scot COMMAND --help lists its flags. Every flag is also an environment variable: --port is SCOT_PORT.",
            'Example: scot search --image shirt.png --edit "make it blue"',
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
