"""The ``scot`` command, with one subcommand for each task. ``scot COMMAND --help`` lists its flags and an example."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scot import __version__, flags
from scot.bundled import python_path
from scot.errors import install_hint
from scot.evaluation.benchmarks import BENCHMARKS

COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "demo": (
        "scot.demo.config:DemoConfig",
        "scot.demo.run:demo",
        "index, serve and search on this machine, then learn a composer",
    ),
    "serve": ("services.search.local.start:LocalConfig", "", "start the search service on this machine"),
    "web": ("services.web.config:WebConfig", "", "serve HTTP and JSON for a running service"),
    "search": ("scot.commands.search:SearchConfig", "search", "search a running service with an image and edits"),
    "facets": (
        "scot.commands.facets:FacetsConfig",
        "facets",
        "count the values of payload fields in a running service",
    ),
    "index": ("scot.commands.index:IndexConfig", "index", "bring the gallery up to date with folders of images"),
    "get": ("scot.commands.items:GetConfig", "get", "show items of a running service"),
    "delete": ("scot.commands.items:DeleteConfig", "delete", "delete items of a running service"),
    "encode": ("scot.commands.items:EncodeConfig", "encode", "embed images and texts with a running service"),
    "status": (
        "scot.commands.status:StatusConfig",
        "status",
        "show whether a service answers, its composers and items",
    ),
    "profile": (
        "scot.commands.profile:ProfileConfig",
        "profile",
        "show where the time of one query goes, stage by stage",
    ),
    "evaluate": (
        "scot.evaluation.run:EvaluateConfig",
        "evaluate",
        "compare composers and baselines on drawn galleries",
    ),
    **{
        f"evaluate {name}": (entry.config, "scot.evaluation.run:evaluate_benchmark", entry.summary)
        for name, entry in BENCHMARKS.items()
    },
    "evaluate pairs": (
        "scot.evaluation.run:PairsConfig",
        "evaluate_pairs",
        "compare composers and baselines on your own captioned images",
    ),
    "evaluate validate-submission": (
        "scot.evaluation.submissions:SubmissionConfig",
        "validate_submission",
        "check files for the CIRR and CIRCO test servers",
    ),
    "evaluate leakage": (
        "scot.evaluation.leakage:LeakageConfig",
        "leakage",
        "compare the texts of triplets with a benchmark's",
    ),
    "plan": (
        "scot.commands.plan:PlanConfig",
        "plan",
        "tell what a job of a given size needs: time, disk, machines, money",
    ),
    "draw": ("scot.worlds.drawing:DrawConfig", "draw", "draw captioned images, with queries whose answers are known"),
    "edits report": (
        "scot.edits.report:ReportConfig",
        "report",
        "describe a folder of triplets: acceptance, lengths, similarities",
    ),
    "edits serve": (
        "services.edits.config:EditServiceConfig",
        "",
        "start the service that generates edits of captions",
    ),
    "completion": ("scot.completion:CompletionConfig", "completion", "print the completion script of a shell"),
    "keys new": ("scot.commands.keys:NewConfig", "new", "make an API key, and its line for the keys file of a service"),
    "collections list": ("scot.commands.collections:ListConfig", "list_collections", "list the collections of a store"),
    "collections create": ("scot.commands.collections:CreateConfig", "create", "create an empty collection"),
    "collections reindex": (
        "scot.commands.reindex:ReindexConfig",
        "reindex",
        "build a new collection beside the one that serves",
    ),
    "collections swap": ("scot.commands.collections:SwapConfig", "swap", "point an alias at another collection"),
    "collections rollback": ("scot.commands.collections:RollbackConfig", "rollback", "undo the last swap of an alias"),
    "collections drop": ("scot.commands.collections:DropConfig", "drop", "delete a collection that no alias points to"),
    "composers list": (
        "scot.commands.composers:ListConfig",
        "list_composers",
        "list the composers of a registry and the released one",
    ),
    "composers compare": (
        "scot.commands.composers:CompareConfig",
        "compare",
        "compare two composers on drawn galleries",
    ),
    "composers promote": (
        "scot.commands.composers:PromoteConfig",
        "promote",
        "release a composer, if it is not measurably worse",
    ),
    "composers rollback": (
        "scot.commands.composers:RollbackConfig",
        "rollback",
        "release the previously released composer",
    ),
    "composers push": (
        "scot.commands.exchange:PushConfig",
        "push",
        "copy a composer to a URL or the Hugging Face hub",
    ),
    "composers pull": (
        "scot.commands.exchange:PullConfig",
        "pull",
        "publish a composer of a URL or the Hugging Face hub",
    ),
    "composers bootstrap": (
        "scot.bootstrap.run:BootstrapConfig",
        "bootstrap",
        "learn a composer for any encoder from the packaged corpus",
    ),
    "cluster submit": ("scot.commands.cluster:SubmitConfig", "submit", "run a job on Kubernetes and show its log"),
    "cluster list": ("scot.commands.cluster:ListConfig", "list_jobs", "list the jobs of a release"),
    "cluster logs": ("scot.commands.cluster:LogsConfig", "logs", "show the log of a job until it ends"),
    "cluster cancel": ("scot.commands.cluster:CancelConfig", "cancel", "stop a job and remove it"),
    "cluster promote": (
        "scot.commands.promote:PromoteConfig",
        "promote",
        "release a composer in a running system, if it passes the gate",
    ),
    "cluster run-pipeline": (
        "scot.commands.pipeline:PipelineConfig",
        "run_pipeline",
        "run all jobs, from edits to a promoted composer",
    ),
}
"""Each command: the class of its flags, the function that gets them (of the same module or with its own), its summary.

The modules are imported only when the command runs, so that ``scot search`` starts quickly.
"""

# These run as another process in place of this one, so that Ctrl-C reaches the service and nothing else.
_PROCESSES = {"serve": "services.search.local", "edits serve": "services.edits", "web": "services.web"}
_NEEDS = {
    "serve": ("ray", "torch", "qdrant_edge"),
    "edits serve": ("grpc_health", "prometheus_client"),
    "web": ("python_multipart", "starlette", "uvicorn"),
    "demo": ("ray", "torch", "qdrant_edge"),
}
"""What a command that starts other processes cannot do without; checked before they start."""

_EXTRAS = {
    "demo": "demo",
    "serve": "serve",
    "web": "web",
    "index": "data",
    "encode": "data",
    "draw": "data",
    "plan": "data",
    "evaluate": "encoders",
    "composers": "encoders",
    "collections": "index",
    "edits": "edits",
    "cluster": "k8s",
}
"""The extra of the package that a command, or a group of commands, needs; the rest needs the base package only."""


def config_of(name: str) -> type[Any]:
    """The dataclass of a command's flags."""
    config: type[Any] = _imported(COMMANDS[name][0])
    return config


def words_of(arguments: Sequence[str]) -> int:
    """How many words at the start of a command line name the command: two in a group such as ``edits``."""
    grouped = any(name.startswith(f"{arguments[0]} ") for name in COMMANDS) if arguments else False
    return 2 if grouped and len(arguments) > 1 and not arguments[1].startswith("-") else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit code: 0 success, 1 an error (one sentence on stderr), 2 a wrong flag, 3 the composer is not released,
        130 interrupted, 141 the reader of the output has closed it.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    words = words_of(arguments)
    name, rest = " ".join(arguments[:words]) or "--help", arguments[words:]
    if name in ("--help", "-h", "help"):
        print(_usage())
        return 0
    if name in ("--version", "-V"):
        print(f"scot {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"scot: there is no command {name!r}; try scot --help", file=sys.stderr)
        return 2
    try:
        return _run(name, rest)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(arguments[0])
        if extra is None or (error.name or "").partition(".")[0] in ("scot", "services", "ray_jobs"):
            raise
        print(f"scot {name} needs {error.name}, which is not installed: {install_hint(extra)}", file=sys.stderr)
        return 1


def _run(name: str, arguments: Sequence[str]) -> int:
    if name in _NEEDS and sys.platform == "win32":
        print(f"scot {name} needs Linux or macOS; on Windows, run it in WSL or in a container", file=sys.stderr)
        return 1
    for module in _NEEDS.get(name, ()):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    if name in _PROCESSES:
        os.environ["PYTHONPATH"] = python_path()
        os.execv(sys.executable, [sys.executable, "-m", _PROCESSES[name], *arguments])
    config, function, _ = COMMANDS[name]
    place = function if ":" in function else f"{config.partition(':')[0]}:{function}"
    return flags.run(f"scot {name}", _imported(place), config_of(name), arguments)


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (*_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: scot COMMAND [flags]",
            "",
            "Composed image search: give an image and say what to change; get the images that match.",
            "",
            *lines,
            "",
            "scot COMMAND --help lists its flags. Every flag is also an environment variable: --port is SCOT_PORT.",
            'Example: scot search --image shirt.png --edit "make it blue"',
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
