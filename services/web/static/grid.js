// The grid of hits: one tab stop, arrows move, Enter or a click goes on from a picture, Space looks at it.
// Only the tiles near the view are elements, so that thousands of hits cost as much as a screen of them.
import { Icon, html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./ui.js";
import { captionOf } from "./captions.js";
import { valueText } from "./fields.js";
import { between, layoutOf, neighbour, rowOf } from "./layout.js";
import { Thumbnail } from "./pictures.js";

const SETTLED_MS = 120; // without a jump, after which pictures are asked for again

export function Grid({ hits, groups, liked, act, side, begun, leave }) {
  const [active, setActive] = useState(0);
  const list = useRef(null);
  const moved = useRef(false); // the keyboard moved: the focus follows
  const titled = Boolean(groups?.some((each) => each.hits > 1)); // else each tile says its group by itself
  const size = useSize(list, titled);
  const layout = useMemo(() => size && layoutOf(hits.length, titled ? groups.map((each) => each.hits) : null, size), [hits, groups, size]);
  const view = useView(list);
  useEffect(() => setActive(0), [hits[0]]);
  useLayoutEffect(() => {
    if (moved.current) list.current.querySelector('.go[tabindex="0"]').focus();
    moved.current = false;
  }, [active]);

  const to = (place) => {
    if (place === null || place < 0 || place >= hits.length) return;
    moved.current = place !== active;
    setActive(place);
  };
  const press = (event, place) => {
    if (event.key === "Escape") return leave();
    const above = neighbour(layout, place, -1);
    const keys = {
      " ": () => act.look(hits[place], side),
      ArrowLeft: () => to(place - 1),
      ArrowRight: () => to(place + 1),
      ArrowUp: () => (above === null ? leave() : to(above)),
      ArrowDown: () => to(neighbour(layout, place, 1)),
      Home: () => to(0),
      End: () => to(hits.length - 1),
    };
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  };

  const shown = layout ? between(layout, view.from, view.to) : { rows: [], headings: [] };
  const own = layout && hits.length ? [layout.rows[rowOf(layout, active)]].filter((row) => row && !shown.rows.includes(row)) : [];
  const tiles = [...shown.rows, ...own].flatMap((row) => hits.slice(row.from, row.to).map((hit, column) => [row, hit, row.from + column, column]));
  tiles.sort(([, , a], [, , b]) => a - b); // as they are read
  return html`<ul class=${titled ? "grid titled" : "grid"} ref=${list} style=${{ height: layout ? `${layout.height}px` : "" }}>
    ${shown.headings.map(({ top, group }) => html`<li class="group" key=${`group ${group}`} style=${{ top: `${top}px` }}><h2>${valueText(groups[group].value)}</h2></li>`)}
    ${tiles.map(([row, hit, place, column]) => html`<${Tile} key=${groups ? `${place} ${hit.itemId}` : hit.itemId} hit=${hit} side=${side} mark=${liked.get(hit.itemId)} act=${act} begun=${begun}
      label=${groups && !titled ? valueText(groups[place].value) : ""} place=${place} count=${hits.length} wait=${view.jumping}
      top=${row.top} left=${column * (layout.side + layout.gap)} size=${layout.side}
      stop=${place === active ? 0 : -1} onKeyDown=${(event) => press(event, place)} onFocus=${() => setActive(place)} />`)}
  </ul>`;
}

/** Columns and pixels as the style sheet has them: the grid has tracks, although its tiles are placed by hand. */
function useSize(list, titled) {
  const [size, setSize] = useState(null);
  useLayoutEffect(() => {
    const measure = () => {
      const style = getComputedStyle(list.current);
      const tracks = style.gridTemplateColumns.split(" ");
      const found = { columns: tracks.length, side: parseFloat(tracks[0]), gap: parseFloat(style.columnGap), heading: parseFloat(style.gridAutoRows) };
      setSize((before) => (JSON.stringify(before) === JSON.stringify(found) ? before : found));
    };
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(list.current);
    return () => watch.disconnect();
  }, [titled]);
  return size;
}

/** The heights of the list that are in view, with a screen above and below; they change once in half a screen of scrolling. */
function useView(list) {
  const [view, setView] = useState({ from: 0, to: 2 * innerHeight, jumping: false });
  useLayoutEffect(() => {
    let settled;
    const see = () => {
      const step = innerHeight / 2;
      const first = Math.floor(-list.current.getBoundingClientRect().top / step);
      const found = { from: (first - 2) * step, to: (first + 5) * step };
      setView((before) => {
        if (before.from === found.from && before.to === found.to) return before;
        const jumping = Math.abs(before.from - found.from) > 2 * innerHeight;
        clearTimeout(settled);
        if (jumping || before.jumping) settled = setTimeout(() => setView((now) => ({ ...now, jumping: false })), SETTLED_MS);
        return { ...found, jumping: jumping || before.jumping };
      });
    };
    see();
    addEventListener("scroll", see, { passive: true });
    addEventListener("resize", see);
    return () => {
      clearTimeout(settled);
      removeEventListener("scroll", see);
      removeEventListener("resize", see);
    };
  }, []);
  return view;
}

function Tile({ hit, side, mark, act, stop, begun, label, place, count, wait, top, left, size, onKeyDown, onFocus }) {
  const caption = captionOf(hit);
  const id = hit.itemId;
  const style = { top: `${top}px`, left: `${left}px`, width: `${size}px`, height: `${size}px` };
  return html`<li class=${`tile ${mark ?? ""}`} style=${style} aria-posinset=${place + 1} aria-setsize=${count} onFocusIn=${onFocus}>
    <button class="go" tabindex=${stop} onClick=${() => act.go(id)} onKeyDown=${onKeyDown} aria-label=${`Go on from ${caption}`}><${Thumbnail} id=${id} alt=${caption} wait=${wait} /></button>
    ${label && html`<span class="value">${label}</span>`}
    <div class="acts">
      <button tabindex=${stop} aria-pressed=${mark === "like"} onClick=${() => act.like(id)} aria-label=${`More like ${caption}`} title="More like this"><${Icon} name="up" /></button>
      <button class="add" tabindex=${stop} disabled=${!act.canAdd} onClick=${() => act.add(id)} aria-label=${`Together with ${caption}`} title="Together with what you have shown"><${Icon} name="add" /></button>
      <button tabindex=${stop} aria-pressed=${mark === "dislike"} disabled=${!begun} onClick=${() => act.dislike(id)} aria-label=${`Less like ${caption}`} title="Less like this"><${Icon} name="down" /></button>
      <button tabindex=${stop} onClick=${() => act.look(hit, side)} aria-label=${`Look at ${caption}`} title="Look closer"><${Icon} name="look" /></button>
    </div>
  </li>`;
}
