"""The demo in two acts: index and search with packaged models; then learn a composer, release it and search again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from scot.client import ScotClient
from scot.commands.search import thumbnails
from scot.demo.config import DemoConfig
from scot.demo.service import Service
from scot.demo.steps import Step, draw_galleries, index_galleries, learning, measuring, run_step, shown
from scot.errors import NotPromoted
from scot.evaluation.contact_sheet import SheetRow, contact_sheet, save_sheet
from scot.ports import check_port, port_or_free
from scot.progress import report_console
from scot.worlds import WORLDS
from scot.worlds.gallery import Query
from scot.worlds.queries import read_queries
from scot.worlds.workspace import Workspace

_PACKAGED = "tiny-1"
_SEARCHES = 4
"""Composed searches shown for each world."""
_HITS = 5
_RELOAD_S = 120.0


@dataclass(frozen=True, slots=True)
class Ranks:
    """What one composer found: the rank of the first correct hit of each query, by query id."""

    composer: str
    ranks: Mapping[str, str]


def demo(config: DemoConfig) -> int:
    """Run both acts, reusing the results of an earlier run; Ctrl-C in the second leaves the service of the first.

    Raises:
        InvalidInput, Conflict: the service cannot listen on the port; nothing was started.
        Unavailable: a step failed.
    """
    console = report_console()
    check_port(config.port)
    config = replace(config, web_port=port_or_free(config.web_port))
    with _stopped_by_signals(), Service(config, console) as service:
        ranks = _act_one(config, service, console)
        try:
            _act_two(config, ranks, console)
        except KeyboardInterrupt:
            if config.once:
                raise
            console.print("act two is stopped; `make demo` goes on with it from its last finished step")
        if not config.once:
            console.print(
                f"the service continues on localhost:{config.port} (gRPC) and http://localhost:{config.web_port}/docs "
                "(HTTP); Ctrl-C stops it",
                soft_wrap=True,
            )
            service.wait()
    return 0


def _act_one(config: DemoConfig, service: Service, console: Console) -> Ranks:
    """Index drawn images with the packaged encoder, search them with the packaged composer."""
    begun = time.monotonic()
    console.print("[bold]Act one: the packaged models index and search two small drawn catalogs[/bold]")
    _run(draw_galleries(config), console)  # while the service starts
    with _timed("starting the service", console, service.command):
        service.wait_until_listening()
    _run(index_galleries(config), console)
    with ScotClient(f"localhost:{config.port}", timeout=60) as client:
        composer = _PACKAGED if _PACKAGED in {each.name for each in client.composers()} else ""
        with _timed("searching over gRPC", console):
            ranks = _search(config, client, composer, console, before=None, sheet="searches.png")
    console.print(f"act one took {time.monotonic() - begun:.0f} s")
    _next(config, console)
    return ranks


def _act_two(config: DemoConfig, before: Ranks, console: Console) -> None:
    """Learn a composer from captions alone, measure it, release it through the gate, search again."""
    begun = time.monotonic()
    left = "the results of act one stay" if config.once else "the service continues"
    console.print(
        "\n[bold]Act two: learn a composer from captions alone, without labeled triplets (about five minutes)[/bold]\n"
        f"Ctrl-C stops it; {left}"
    )
    for step in learning(config):
        result = _run(step, console)
    version = str(result["version"])
    with ScotClient(f"localhost:{config.port}", timeout=60) as client:
        earlier = [before.composer] if before.composer == _PACKAGED else []
        _run(measuring(config, version, *earlier), console)
        _release(config, version, console)
        with _timed("searching again", console):
            _wait_for(client, version)
            _search(config, client, version, console, before=before, sheet="searches-learned.png")
    console.print(f"act two took {time.monotonic() - begun:.0f} s")


def _run(step: Step, console: Console) -> dict[str, object]:
    with _timed(step.title, console, *step.commands[:1]):
        return run_step(step)


@contextmanager
def _timed(title: str, console: Console, *commands: tuple[str, ...]) -> Iterator[None]:
    """Announce a step with the command that it runs, and print its seconds at the end."""
    begun = time.monotonic()
    console.print(f"[bold]{title}[/bold]")
    for command in commands:
        console.print(f"      [dim]$ {shown(command)}[/dim]", highlight=False, soft_wrap=True)
    yield
    console.print(f"      [dim]{time.monotonic() - begun:.0f} s[/dim]")


def _release(config: DemoConfig, version: str, console: Console) -> None:
    """Promote the version through the registry's gate; a refusal is printed, and the released version stays."""
    from scot.commands.composers import PromoteConfig, promote  # imports torch

    space = Workspace(config.data)
    command = ("scot", "composers", "promote", version, "--composers", str(space.composers), "--gallery")
    with _timed("releasing it through the gate", console, (*command, *map(str, space.galleries))):
        try:
            promote(
                PromoteConfig(version, str(space.composers), gallery=space.galleries, cache=space.evaluation / "cache")
            )
        except NotPromoted as error:
            console.print(f"not released: {error}", markup=False, highlight=False)


def _wait_for(client: ScotClient, version: str) -> None:
    """Wait until the service has read the registry, if ``version`` was released in it."""
    deadline = time.monotonic() + _RELOAD_S
    while not any(each.released and each.name == version for each in client.composers()):
        if time.monotonic() > deadline:
            return
        time.sleep(0.2)


def _search(
    config: DemoConfig, client: ScotClient, composer: str, console: Console, *, before: Ranks | None, sheet: str
) -> Ranks:
    """Answer some queries of each world, print the ranks beside those of ``before``, and save a contact sheet."""
    space = Workspace(config.data)
    rows: list[SheetRow] = []
    lines: list[tuple[str, ...]] = []
    ranks: dict[str, str] = {}
    for world in WORLDS:
        _, queries = read_queries(space.gallery(world))
        chosen = queries[:: max(1, len(queries) // _SEARCHES)][:_SEARCHES]
        found = {
            query.query_id: client.search(item_id=query.reference_id, edits=query.edit, composer=composer)
            for query in chosen
        }
        references = client.get([query.reference_id for query in chosen])
        best = {hit.item_id for result in found.values() for hit in result.hits[:_HITS]}
        images = thumbnails(client, sorted(best | {query.reference_id for query in chosen}))
        for query in chosen:
            hits = found[query.query_id].hits
            ranks[query.query_id] = _rank(query, [hit.item_id for hit in hits])
            composer = found[query.query_id].composer
            captions = [str(item.payload["caption"]) for item in (references[query.reference_id], hits[0])]
            earlier = [before.ranks.get(query.query_id, "")] if before else []
            lines.append((captions[0], query.edit, captions[1], ranks[query.query_id], *earlier))
            cells = [(images[hit.item_id], f"{hit.score:.3f}", hit.item_id in query.targets) for hit in hits[:_HITS]]
            rows.append(SheetRow(images[query.reference_id], query.edit, cells))
    titles = ["reference", "edit", f"first hit of {composer}", "rank of a correct one"]
    table = Table(*titles, *([f"by {before.composer}"] if before else []), box=SIMPLE_HEAD)
    for line in lines:
        table.add_row(*line)
    console.print(table)
    save_sheet(
        contact_sheet(rows, title="SCOT: reference, edit, first hits (correct ones framed)"), config.data / sheet
    )
    console.print(f"contact sheet: {config.data / sheet}", highlight=False)
    return Ranks(composer, ranks)


def _rank(query: Query, item_ids: list[str]) -> str:
    return next((str(rank) for rank, item in enumerate(item_ids, 1) if item in query.targets), "over 10")


def _next(config: DemoConfig, console: Console) -> None:
    space = Workspace(config.data)
    _, queries = read_queries(space.gallery("wardrobe"))
    image = next(iter(sorted((space.gallery("wardrobe") / "images").rglob("*.png"))))
    address = "" if config.port == DemoConfig.port else f" --address localhost:{config.port}"
    console.print(
        "Try, in another terminal (with .venv/bin on the PATH):\n"
        f'  scot search --image {image} --edit "make it blue"{address}\n'
        f'  scot search --item-id {queries[1].reference_id} --edit "add a belt" --limit 5 --sheet hits.png{address}\n'
        f"  scot index YOUR_FOLDER{address}        # your own images: docs/guide.md",
        highlight=False,
        soft_wrap=True,
    )


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM, and the end of the terminal, stop the demo as Ctrl-C does: its service is a process of its own."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
