"""The rooms of the source, and which of them may import which."""

from __future__ import annotations

from itertools import pairwise

from tests.support.source_imports import LIBRARY, cycles, import_graph

# Small modules at the bottom of scot, which every room may import.
SMALL = frozenset(
    {
        "scot",
        "errors",
        "flags",
        "progress",
        "machine",
        "ports",
        "keys",
        "channels",
        "hedging",
        "bundled",
        "local_ray",
        "results",
        "baselines",
        "signals",
        "child_processes",
        "edit",
        "pool",
    }
)
INDEX = frozenset({"data", "encoders", "embeddings", "index"})
SHARED = frozenset({"services/access", "services/calls", "services/ordered_map"})
LIBRARY_ROOMS = INDEX | {
    "worlds",
    "composers",
    "edits",
    "rerank",
    "training",
    "bootstrap",
    "evaluation",
    "client",
    "plan",
}

# Each room with the rooms that it may import; a room stands below all rooms that may import it.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "scot": frozenset(),
    "v1": frozenset(),
    "errors": frozenset(),
    "bundled": frozenset(),
    "edit": frozenset(),
    "pool": frozenset({"errors"}),
    "machine": frozenset(),
    "results": frozenset(),
    "local_ray": frozenset({"errors"}),
    "child_processes": frozenset(),
    "signals": frozenset({"child_processes"}),
    "flags": frozenset({"errors", "keys", "signals"}),
    "progress": frozenset({"errors"}),
    "ports": frozenset({"errors"}),
    "baselines": frozenset({"errors"}),
    "keys": frozenset({"errors"}),
    "channels": frozenset({"errors"}),
    "hedging": frozenset({"errors", "channels"}),
    "data": SMALL,
    "worlds": SMALL | {"data"},
    "encoders": SMALL | {"data"},
    "composers": SMALL | {"data", "encoders"},
    "embeddings": SMALL | {"data", "encoders", "composers"},
    "edits": SMALL | {"data", "encoders", "embeddings", "v1"},
    "index": SMALL | {"data", "encoders", "embeddings", "v1"},
    "rerank": SMALL | {"edits"},
    "plan": SMALL | {"data", "index"},
    "training": SMALL | {"data", "encoders", "embeddings", "composers", "evaluation"},
    "evaluation": SMALL | {"data", "worlds", "edits", "encoders", "embeddings", "composers", "rerank"},
    "bootstrap": SMALL | {"data", "edits", "encoders", "embeddings", "composers", "training"},
    "client": SMALL | {"index", "data", "v1"},
    "cluster": SMALL | {"client", "composers", "evaluation"},
    "commands": SMALL | LIBRARY_ROOMS | {"cluster"},
    "demo": SMALL | LIBRARY_ROOMS | {"cluster", "commands"},
    # The commands are imported by name, when they run; the benchmarks' names come from their table.
    "cli": frozenset({"scot", "errors", "flags", "bundled", "evaluation"}),
    "completion": frozenset({"cli", "flags"}),
    "ray_jobs": SMALL | LIBRARY_ROOMS | {"cluster"},
    "services/access": SMALL,
    "services/ordered_map": SMALL,
    "services/calls": SMALL | {"services/access"},
    "services/edits": SMALL | SHARED | {"edits", "v1"},
    "services/web": SMALL | {"v1"},
    "services/search/tracing": SMALL,
    "services/search/serve_calls": SMALL | SHARED | {"services/search/tracing"},
    "services/search/rollout": SMALL,
    "services/search/settings": SMALL | {"encoders", "index", "rerank", "services/search/rollout"},
    "services/search/metrics": SMALL
    | {"index", "rerank", "v1", "services/search/serve_calls", "services/search/tracing"},
    "services/search/rpc": SMALL | {"client", "composers", "data", "index", "rerank", "v1"},
    "services/search/servicers": SMALL | SHARED | {"v1", "services/search/rpc", "services/search/serve_calls"},
    "services/search/composer": SMALL
    | {"client", "composers", "data", "encoders", "index"}
    | {"services/search/rollout", "services/search/settings", "services/search/metrics", "services/search/tracing"},
    "services/search/gateway": SMALL
    | SHARED
    | INDEX
    | {"rerank", "v1", "services/search/composer", "services/search/rpc", "services/search/serve_calls"}
    | {"services/search/metrics", "services/search/settings", "services/search/tracing"},
    "services/search/app": SMALL
    | {"services/search/composer", "services/search/gateway", "services/search/settings"}
    | {"services/search/metrics", "services/search/servicers"},
    "services/search/local": SMALL
    | SHARED
    | INDEX
    | {"composers", "client", "services/search/app", "services/search/composer"}
    | {"services/search/rpc", "services/search/settings", "services/search/tracing"},
}


def room_of(module: str) -> str:
    top, *rest = module.split(".")
    if top == "scot":
        return rest[0] if rest else "scot"
    if top == "services" and rest:
        return "/".join(["services", *rest[: 2 if rest[0] == "search" else 1]])
    return top


def arrows() -> set[tuple[str, str]]:
    graph = import_graph(*LIBRARY)
    crossing = {(module, target) for module, targets in graph.items() for target in targets}
    return {(module, target) for module, target in crossing if room_of(module) != room_of(target)}


def test_the_table_has_no_cycle() -> None:
    assert cycles({room: set(targets) - {room} for room, targets in MAY_IMPORT.items()}) == []


def test_every_import_follows_an_allowed_arrow() -> None:
    rooms = {module: room_of(module) for pair in arrows() for module in pair}
    assert {room for room in rooms.values() if room not in MAY_IMPORT} == set()
    upward = {pair for pair in arrows() if rooms[pair[1]] not in MAY_IMPORT[rooms[pair[0]]]}
    assert upward == set()


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    assert cycles(import_graph(*LIBRARY)) == []


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set[str]()}
    assert cycles(graph) == [{"a", "b", "c"}]
    chain = [str(number) for number in range(50)]
    assert cycles({"50": set(), **{low: {high} for low, high in pairwise([*chain, "50"])}}) == []
