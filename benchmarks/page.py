"""The page of `scot web` in Chromium, and what 200 browsers at once ask for: each number that the page has a limit for.

    python benchmarks/page.py
    python benchmarks/page.py --ray

It starts the packaged encoder's service (benchmarks/web_service.py, or `scot serve`) and `scot web`, opens the page,
searches, scrolls through 5,000 hits, and sends what so many browsers send at half of the measured peak. Chromium, the
web process, the service and the load share the machine; its line comes first and last. The table is standard output,
progress is standard error. Needs the extra `browser` and Chromium (Debian's `chromium`).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from page_visits import Load, load
from web import started

from scot import flags
from scot.errors import Unavailable
from scot.machine import machine
from scot.progress import Progress

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

LOADED = """() => new Promise((resolve) => {
  const scripts = performance.getEntriesByType('resource').filter((each) => /\\.m?js$/.test(each.name));
  const paint = performance.getEntriesByName('first-contentful-paint')[0].startTime;
  const observer = new PerformanceObserver((list) => resolve(
    {paint, largest: list.getEntries().at(-1).startTime,
     script: scripts.reduce((all, each) => all + each.decodedBodySize, 0)}
  ));
  observer.observe({type: 'largest-contentful-paint', buffered: true});
})"""
# From the key or click to the frame that shows the answer: `aria-busy` rises with the question, falls with the answer.
ANSWERED = """() => {
  let begun = 0, rose = false;
  const begin = (event) => (begun ||= event.timeStamp);
  for (const name of ['keydown', 'click']) addEventListener(name, begin, {capture: true});
  window.answered = new Promise((resolve) => new MutationObserver((_, observer) => {
    const busy = document.querySelector('[aria-busy]').ariaBusy === 'true';
    rose ||= busy;
    if (!rose || busy) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begun)));
  }).observe(document.body, {attributes: true, attributeFilter: ['aria-busy'], subtree: true}));
}"""
SCROLL = """async (most) => {
  const tasks = [];
  const note = (list) => tasks.push(...list.getEntries().map((each) => each.duration));
  new PerformanceObserver(note).observe({type: 'longtask'});
  const frame = () => new Promise(requestAnimationFrame);
  const count = () => Number(document.querySelector('.tile').ariaSetSize);
  let tiles = 0;
  for (let still = 0; still < 600;) {
    const [top, known] = [scrollY, count()];
    scrollBy(0, innerHeight / 4);
    await frame();
    tiles = Math.max(tiles, document.querySelectorAll('.tile').length);
    if (count() !== known) noted(count());
    if (scrollY !== top || count() !== known) still = 0;
    else if (known >= most) break;
    else still++;
  }
  for (const share of [0, 0.5, 1, 0.25, 0.75, 0]) {
    scrollTo(0, share * document.body.scrollHeight);
    for (let frames = 0; frames < 20; frames++) await frame();
  }
  await new Promise((resolve) => setTimeout(resolve, 500));
  return {hits: count(), tiles, tasks};
}"""


LONG_MS = 100.0
PATIENCE_MS = 120_000
"""How long a busy machine may take for a step."""
VIEW: ViewportSize = {"width": 1280, "height": 800}


@dataclass(frozen=True)
class PageBenchmark:
    """Measure the page in Chromium, and the load of many browsers.

    Example: python benchmarks/page.py --items 500 --browsers 20 --load-s 20
    """

    items: int = 5_000
    """Pictures of the gallery."""
    loads: int = 9
    """Times that the page is opened with an empty cache."""
    searches: int = 20
    """Searches, each followed by a click on a hit."""
    browsers: int = 200
    """Browsers at once."""
    peak_s: float = 15.0
    """Seconds in which the peak is measured."""
    load_s: float = 90.0
    """Seconds in which all browsers together visit at half of the peak."""
    ray: bool = False
    """Measure before `scot serve`, with Ray, rather than before the gateway, towers and store in one process."""
    log: Path = Path("/dev/null")
    """The file for the log of the service and of `scot web`."""


def main(config: PageBenchmark) -> int:
    """Measure and print a Markdown table."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise Unavailable("there is no chromium")
    progress = Progress.on(sys.stderr)
    print(machine(), flush=True)
    with started(items=config.items, side=96, ray=config.ray, log=config.log, progress=progress) as running:
        url = f"http://{running.target}"
        print("\n| what | limit | median | worst |\n|---|---|---|---|", flush=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            opening(browser, url, config.loads, progress)
            searching(browser, url, config.searches, progress)
            scrolling(browser, url, config.items, progress)
            browser.close()
        found = asyncio.run(load(url, config.browsers, config.load_s, config.peak_s, progress))
        loaded(found, config.browsers)
        row("memory (RSS) of `scot web` after it, MB", "120", worst=running.process.memory_info().rss / 1e6)
    print(f"\n{machine()}")
    return 0


def row(
    name: str, limit: str = "", values: Iterable[float] = (), *, worst: float | None = None, digits: int = 0
) -> None:
    """Print the limit, and the median and the worst of the values."""
    found = list(values)
    median = f"{statistics.median(found):,.{digits}f}" if found else ""
    worst = max(found) if worst is None else worst
    print(f"| {name} | {limit} | {median} | {worst:,.{digits}f} |", flush=True)


def loaded(found: Load, browsers: int) -> None:
    """Print the rows of many browsers, and below the reasons of failed requests."""
    seen = found.seen
    row("visits a second, 8 browsers without a pause", worst=found.peak, digits=2)
    row(f"visits a second, {browsers} browsers at half of that", worst=found.rate, digits=2)
    row("their requests", worst=len(seen.seconds))
    row("their failed requests", "0", worst=len(seen.failed))
    milliseconds = [each * 1e3 for each in seen.seconds]
    row("a request of theirs, ms (worst: p99)", "", milliseconds, worst=statistics.quantiles(milliseconds, n=100)[98])
    for each, number in Counter(seen.failed).most_common(5):
        print(f"{number} x {each}", file=sys.stderr)


def opening(browser: Browser, url: str, loads: int, progress: Progress) -> None:
    """Open the page, each time in a profile of its own."""
    found: list[dict[str, float]] = []
    with progress.task("opening the page", loads, "times") as task:
        for _ in range(loads):
            with browser.new_context(viewport=VIEW) as context:
                page = context.new_page()
                page.set_default_timeout(PATIENCE_MS)
                page.goto(url)
                page.wait_for_function(
                    "() => [...document.querySelectorAll('.tile img')].filter((i) => i.complete).length > 20"
                )
                found.append(page.evaluate(LOADED))
            task.advance()
    row("first contentful paint, ms", "1,000", (each["paint"] for each in found))
    row("largest contentful paint, ms", "", (each["largest"] for each in found))
    row("script, kB", "150", (each["script"] / 1e3 for each in found), digits=1)


def searching(browser: Browser, url: str, searches: int, progress: Progress) -> None:
    """Search by a text, then go on from a hit; the time beyond that of the service."""
    page = browser.new_page(viewport=VIEW)
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    service: list[float] = []

    def note(response: Any) -> None:
        if response.url.endswith("/v1/compose-search"):
            service.append(1e3 * response.json()["timings"]["total"])

    page.on("response", note)
    waited: list[float] = []
    with progress.task("searching", searches, "times") as task:
        for number in range(searches):
            page.locator(".words").fill(f"a red shirt of {number} buttons")
            waited.append(answer(page, lambda: page.keyboard.press("Enter")))
            waited.append(answer(page, lambda: page.locator(".tile .go").nth(5).click()))
            page.get_by_role("button", name="Start again").click()
            task.advance()
    page.close()
    if len(service) != len(waited):
        raise RuntimeError(f"{len(service)} answers for {len(waited)} questions")
    row("a search in the service, ms", "", service)
    row("from the key or click to the pictures, ms", "", waited)
    beyond = (whole - own for whole, own in zip(waited, service, strict=True))
    row("the same without the service, ms", "100", beyond)


def answer(page: Page, act: Any) -> float:
    """Milliseconds from what ``act`` does to the frame that shows the answer."""
    page.evaluate(ANSWERED)
    act()
    return float(page.evaluate("window.answered"))


def scrolling(browser: Browser, url: str, items: int, progress: Progress) -> None:
    """Scroll to the last hit, and jump; with the tasks of the page's main thread."""
    page = browser.new_page(viewport=VIEW)
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    page.locator(".words").fill("a shirt")
    page.keyboard.press("Enter")
    page.wait_for_selector(".step")
    page.wait_for_selector('[aria-busy="false"] .tile')
    with progress.task("scrolling", items, "hits") as task:
        page.expose_function("noted", lambda hits: task.advance(hits - task.done))
        browser.start_tracing(page=page, categories=["toplevel"])
        found = page.evaluate(SCROLL, items)
        tasks = processor_ms(json.loads(browser.stop_tracing()))
    page.close()
    row("hits that were scrolled through", worst=found["hits"])
    row("tiles at a time", worst=found["tiles"])
    row("tasks of more than 100 ms of processor time", "0", worst=sum(each > LONG_MS for each in tasks))
    row("the longest task, ms of processor time", "100", worst=max(tasks))
    row("tasks of more than 100 ms on the clock", worst=sum(each > LONG_MS for each in found["tasks"]))
    row("the longest task, ms on the clock", "", worst=max(found["tasks"], default=0))


def processor_ms(trace: dict[str, Any]) -> list[float]:
    """The processor time of each task of the main threads of pages: what it would take if nothing else ran."""
    events = trace["traceEvents"]
    named = [event for event in events if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"]
    threads = {(event["pid"], event["tid"]) for event in named}
    tasks = (
        each
        for each in events
        if each["name"] == "ThreadControllerImpl::RunTask" and (each["pid"], each["tid"]) in threads
    )
    return [each["tdur"] / 1e3 for each in tasks if "tdur" in each]


if __name__ == "__main__":
    sys.exit(flags.run("page", main, PageBenchmark))
