"""Run the demo: train, index, serve, search, show."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from scot.client import ScotClient
from scot.commands.search import find_images
from scot.demo.config import DemoConfig
from scot.demo.steps import Workspace, run_step, shown, steps_of
from scot.errors import Unavailable
from scot.evaluation.contact_sheet import SheetRow, contact_sheet, save_sheet
from scot.evaluation.tables import report_console
from scot.ports import check_port
from scot.worlds import WORLDS
from scot.worlds.gallery import Query
from scot.worlds.queries import read_queries

_SEARCHES = 4
"""Composed searches shown for each world."""
_HITS = 5


def demo(config: DemoConfig) -> int:
    """Run every step, reusing the results of an earlier run, then search and serve.

    Raises:
        InvalidInput, Conflict: the service cannot listen on the port; nothing was started.
        Unavailable: a step failed.
    """
    console = report_console()
    started = time.monotonic()
    check_port(config.port)
    steps = steps_of(config)
    for number, step in enumerate(steps, 1):
        begun = time.monotonic()
        console.print(f"[bold]\\[{number}/{len(steps) + 2}] {step.title}[/bold]")
        for command in step.commands[:1]:
            console.print(f"      [dim]$ {shown(command)}[/dim]", highlight=False, soft_wrap=True)
        run_step(step)
        console.print(f"      [dim]{time.monotonic() - begun:.0f} s[/dim]")
    console.print(f"[bold]\\[{len(steps) + 1}/{len(steps) + 2}] serving[/bold]")
    with _service(config, console) as service:
        console.print(f"[bold]\\[{len(steps) + 2}/{len(steps) + 2}] searching over gRPC[/bold]")
        _search(config, console)
        console.print(f"done in {time.monotonic() - started:.0f} s")
        if not config.once:
            _next(config, console)
            service.wait()
    return 0


def _search(config: DemoConfig, console: Console) -> None:
    space = Workspace(config.data)
    table = Table("reference", "edit", "first hit", "rank of a correct one", box=SIMPLE_HEAD)
    rows: list[SheetRow] = []
    with ScotClient(f"localhost:{config.port}", timeout=60) as client:
        for world in WORLDS:
            _, queries = read_queries(space.gallery(world))
            chosen = queries[:: max(1, len(queries) // _SEARCHES)][:_SEARCHES]
            found = {query.query_id: client.search(item_id=query.reference_id, edits=query.edit) for query in chosen}
            hits = [hit for result in found.values() for hit in result.hits]
            references = client.get([query.reference_id for query in chosen])
            ids = {hit.item_id for hit in hits} | {query.reference_id for query in chosen}
            images = find_images(space.galleries, ids)
            for query in chosen:
                answers = found[query.query_id].hits
                table.add_row(
                    str(references[query.reference_id].payload["caption"]),
                    query.edit,
                    str(answers[0].payload["caption"]),
                    _rank(query, [hit.item_id for hit in answers]),
                )
                cells = [
                    (images[hit.item_id], f"{hit.score:.3f}", hit.item_id in query.targets) for hit in answers[:_HITS]
                ]
                rows.append(SheetRow(images[query.reference_id], query.edit, cells))
    console.print(table)
    sheet = config.data / "searches.png"
    save_sheet(contact_sheet(rows, title="SCOT: reference, edit, first hits (correct ones framed)"), sheet)
    console.print(f"contact sheet: {sheet}")


def _rank(query: Query, item_ids: list[str]) -> str:
    return next((str(rank) for rank, item in enumerate(item_ids, 1) if item in query.targets), "over 10")


def _next(config: DemoConfig, console: Console) -> None:
    space = Workspace(config.data)
    _, queries = read_queries(space.gallery("wardrobe"))
    image = next(iter(sorted((space.gallery("wardrobe") / "images").rglob("*.png"))))
    address = "" if config.port == DemoConfig.port else f" --address localhost:{config.port}"
    folders = " ".join(str(folder) for folder in space.galleries)
    console.print(
        "\nThe service continues; Ctrl-C stops it. Try next, in another terminal (with .venv/bin on the PATH):\n"
        f'  scot search --image {image} --edit "make it blue"{address}\n'
        f'  scot search --item-id {queries[1].reference_id} --edit "add a belt" --limit 5 --sheet hits.png '
        f"--images {folders}{address}\n"
        f"  scot index YOUR_FOLDER{address}        # your own captioned images: docs/guide.md",
        highlight=False,
        soft_wrap=True,
    )


@contextmanager
def _service(config: DemoConfig, console: Console) -> Iterator[subprocess.Popen[str]]:
    """The search service while the block runs; its output is shown until it listens."""
    command = (sys.executable, "-m", "scot.cli", "serve", "--data", str(config.data), "--port", str(config.port))
    console.print(f"      [dim]$ {shown(command)}[/dim]", highlight=False, soft_wrap=True)
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"      {line}", end="", flush=True)
            if "listens on" in line:
                break
        else:
            raise Unavailable(f"the service did not start (exit code {process.wait()}); the lines above say why")
        console.print(f"      [dim]{time.monotonic() - begun:.0f} s[/dim]")
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait()
