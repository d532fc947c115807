// The page: what is asked lives in the address, so that going back undoes and a copied address shows the same.
import { Icon, html, render, useEffect, useMemo, useRef, useState } from "./ui.js";
import { key } from "./api.js";
import { suggestions } from "./captions.js";
import { Grid } from "./grid.js";
import { Large } from "./large.js";
import { KeyForm, Lost, Notice, Pending } from "./notices.js";
import { Options, slash } from "./options.js";
import { forgetPictures } from "./pictures.js";
import { Ask } from "./ask.js";
import { Steps } from "./steps.js";
import { EMPTY, MAX_TURNS, fromHash, lost, toHash, turnsOf, withStep, without } from "./trail.js";
import { useGallery, useResults } from "./results.js";
import { upload, vectors } from "./uploads.js";

function useAsked() {
  const [asked, setAsked] = useState(() => fromHash(location.hash) ?? EMPTY);
  const [broken, setBroken] = useState(() => fromHash(location.hash) === null);
  useEffect(() => {
    const read = () => {
      setBroken(fromHash(location.hash) === null);
      setAsked(fromHash(location.hash) ?? EMPTY);
    };
    addEventListener("popstate", read);
    return () => removeEventListener("popstate", read);
  }, []);
  const ask = (next, replace = false) => {
    history[replace ? "replaceState" : "pushState"](null, "", toHash(next) || location.pathname);
    setBroken(false);
    setAsked(next);
  };
  return [asked, ask, broken];
}

function Page() {
  const [asked, ask, brokenLink] = useAsked();
  const [attempt, setAttempt] = useState(0); // one more: ask again, with another key or after a failure
  const [more, setMore] = useState(1);
  const [large, setLarge] = useState(null);
  const [showOptions, setShowOptions] = useState(false);
  const [askKey, setAskKey] = useState(false);
  const [failed, setFailed] = useState(null); // a picture that could not be read or encoded
  const [busy, setBusy] = useState(false);
  const input = useRef(null);
  const missing = lost(asked.trail, vectors);
  const full = turnsOf(asked.trail, vectors).length > MAX_TURNS;
  const gallery = useGallery(attempt);
  const sides = asked.b === null ? [asked.a] : [asked.a, asked.b];
  const ready = !missing.length && !full && asked.trail.length > 0;
  const results = useResults(ready ? asked : null, sides, more, attempt);
  const hits = ready ? (results.answers[0]?.hits ?? []) : gallery.items;
  const said = asked.trail.map((step) => step.text ?? "").join(" ");
  const hints = useMemo(() => (asked.trail.length ? suggestions(hits, said) : []), [hits, said]);
  const problem = results.problem ?? (ready ? null : gallery.problem);

  const again = () => setAttempt(attempt + 1);
  const go = (next) => {
    setMore(1);
    setFailed(null);
    ask(next);
  };
  const step = (each) => {
    go({ ...asked, trail: withStep(asked.trail, each) });
    scrollTo({ top: 0 });
  };
  const give = async (picture, name, inPlaceOf) => {
    setBusy(true);
    setFailed(null);
    try {
      const given = await upload(await picture(), name, inPlaceOf);
      if (inPlaceOf) again();
      else step(given);
    } catch (error) {
      setFailed(error);
    } finally {
      setBusy(false);
    }
  };
  useKeys(input);
  useDrop(give);
  useEffect(() => problem?.kind === "unauthorised" && setAskKey(true), [problem]);

  const act = {
    go: (id) => step({ kind: "item", id }),
    like: (id) => step({ kind: "like", id }),
    dislike: (id) => step({ kind: "dislike", id }),
    look: (hit, side) => setLarge({ hit, side }),
  };
  const liked = new Map(asked.trail.filter((each) => each.kind.endsWith("like")).map((each) => [each.id, each.kind]));
  const useKey = (value) => {
    key.set(value);
    forgetPictures();
    setAskKey(false);
    again();
  };
  const status = statusOf({ problem, failed, busy, results, ready, hits, gallery });

  return html`
    <a class="skip" href="#hits">Skip to the pictures</a>
    <header>
      <div class="bar">
        <h1><a href="/" onClick=${(event) => (event.preventDefault(), go(EMPTY))}>SCOT</a></h1>
        <${Ask} input=${input} asked=${asked} busy=${busy} give=${give} say=${(text) => step({ kind: "say", text, weight: 1, away: false })} />
        <button class="plain" aria-expanded=${showOptions} aria-controls="options" onClick=${() => setShowOptions(!showOptions)}>
          <${Icon} name="options" /><span class="wide">Options</span>
        </button>
        ${(key.get() || askKey) && html`<button class="plain" onClick=${() => setAskKey(!askKey)} aria-expanded=${askKey}><${Icon} name="key" /><span class="wide">Key</span></button>`}
      </div>
      <${Steps} asked=${asked} go=${go} remove=${(place) => go({ ...asked, trail: without(asked.trail, place) })} />
      ${hints.length > 0 && html`<div class="hints" role="group" aria-label="Suggested changes"><span aria-hidden="true">Try</span>${hints.map((each) => html`<button key=${each} class="hint" onClick=${() => step({ kind: "say", text: each, weight: 1, away: false })}>${each}</button>`)}</div>`}
      ${showOptions && html`<${Options} asked=${asked} go=${go} hits=${hits} attempt=${attempt} />`}
    </header>
    <main id="hits" tabindex="-1">
      ${askKey && html`<${KeyForm} problem=${problem} useKey=${useKey} />`}
      ${brokenLink && html`<${Notice} title="This link is damaged" text="What it asked for cannot be read. Start with a picture or a text." />`}
      ${failed && html`<${Notice} problem=${failed} again=${() => setFailed(null)} label="Close" />`}
      ${missing.length > 0 && html`<${Lost} steps=${missing} give=${give} />`}
      ${full && html`<${Notice} title="This trail is as long as it can be" text="Take a step away, or start again." />`}
      ${problem && !(askKey && problem.kind === "unauthorised") && html`<${Notice} problem=${problem} again=${again} label="Try again" />`}
      ${results.pending && html`<${Pending} cancel=${results.cancel} />`}
      ${!ready && !missing.length && !full && !problem && html`<${Welcome} gallery=${gallery} />`}
      ${results.stopped && html`<${Notice} title="Stopped" text="The search was given up before its answer." again=${again} label="Search again" />`}
      ${ready && !results.pending && !results.stopped && !problem && hits.length === 0 && html`<${Notice} title="No pictures" text=${Object.keys(asked.filters).length ? "The filters leave none. Take one away under Options." : "The gallery is empty, or all of it was taken out of the results."} />`}
      <div class=${sides.length > 1 && ready ? "sides" : ""} aria-busy=${results.pending || busy}>
        ${(ready ? results.answers : [{ hits: gallery.items }]).map((answer, side) => html`
          <section key=${side} aria-label=${ready ? (sides.length > 1 ? `Pictures of composer ${"AB"[side]}` : "Pictures found") : "Pictures of the gallery"}>
            ${sides.length > 1 && ready && html`<h2>${"AB"[side]} <small>${answer.composer}</small></h2>`}
            <${Grid} hits=${answer.hits} liked=${liked} act=${act} side=${side} canDislike=${asked.trail.some((each) => each.kind !== "dislike")} leave=${() => input.current.focus()} />
          </section>`)}
      </div>
      ${ready && results.more && !problem && html`<button class="more" onClick=${() => setMore(more + 1)} disabled=${results.pending}>More pictures</button>`}
    </main>
    <footer><span class="keys"><kbd>/</kbd> write <kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd> move <kbd>Enter</kbd> go on from a picture <kbd>Space</kbd> look <kbd>Esc</kbd> close</span><a href="/docs">HTTP API</a></footer>
    <p class="hidden" role="status">${status}</p>
    ${large && html`<${Large} key=${large.hit.itemId} hit=${large.hit} asked=${ready ? asked : EMPTY} composer=${sides[large.side]} liked=${liked.get(large.hit.itemId)} act=${act} close=${() => setLarge(null)} />`}`;
}

function Welcome({ gallery }) {
  return html`<div class="welcome">
    <p class="lead">Show a picture, say what to change.</p>
    <p>Drop, paste or choose a picture, describe one, or start from ${gallery.items.length ? "one of these" : "a text"}.</p>
  </div>`;
}

function statusOf({ problem, failed, busy, results, ready, hits, gallery }) {
  if (problem ?? failed) return (problem ?? failed).message;
  if (busy) return "Reading the picture";
  if (results.pending) return "Searching";
  if (ready) return `${hits.length} pictures found`;
  return gallery.items.length ? "Pictures of the gallery are shown" : "";
}

function useKeys(input) {
  useEffect(() => {
    const press = (event) => {
      const typing = event.target.closest("input, textarea, select, dialog");
      if (event.key === "/" && slash.on() && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        input.current.focus();
      }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

function useDrop(give) {
  const latest = useRef(give);
  latest.current = give;
  useEffect(() => {
    const over = (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", event.type === "dragover");
    };
    const drop = (event) => {
      over(event);
      takeFrom(event.dataTransfer, latest.current);
    };
    const paste = (event) => takeFrom(event.clipboardData, latest.current) && event.preventDefault();
    const all = { dragover: over, dragleave: over, drop, paste };
    for (const [name, each] of Object.entries(all)) addEventListener(name, each);
    return () => Object.entries(all).forEach(([name, each]) => removeEventListener(name, each));
  }, []);
}

function takeFrom(data, give) {
  const file = [...(data?.files ?? [])].find((each) => each.type.startsWith("image/"));
  if (file) give(async () => file, file.name);
  return Boolean(file);
}

render(html`<${Page} />`, document.getElementById("page"));
