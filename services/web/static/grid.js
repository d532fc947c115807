// The grid of hits: one tab stop, arrows move, Enter or a click goes on from a picture, Space looks at it.
import { Icon, html, useEffect, useRef, useState } from "./ui.js";
import { captionOf } from "./captions.js";
import { Thumbnail } from "./pictures.js";

export function Grid({ hits, liked, act, side, canDislike, leave }) {
  const [active, setActive] = useState(0);
  const list = useRef(null);
  useEffect(() => setActive(0), [hits]);
  const buttons = () => [...list.current.querySelectorAll(".go")];
  const move = (event, place) => {
    const to = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(buttons()), ArrowDown: columns(buttons()) }[event.key];
    if (event.key === "Escape") return leave();
    if (event.key === " ") {
      event.preventDefault();
      return act.look(hits[place], side);
    }
    if (!to && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    const next = event.key === "Home" ? 0 : event.key === "End" ? hits.length - 1 : place + to;
    if (next < 0 && event.key === "ArrowUp") return leave();
    if (next >= 0 && next < hits.length) {
      setActive(next);
      buttons()[next].focus();
    }
  };
  return html`<ul class="grid" ref=${list}>
    ${hits.map((hit, place) => html`<${Tile} key=${hit.itemId} hit=${hit} side=${side} mark=${liked.get(hit.itemId)} act=${act} canDislike=${canDislike}
      stop=${place === active ? 0 : -1} onKeyDown=${(event) => move(event, place)} onFocus=${() => setActive(place)} />`)}
  </ul>`;
}

const columns = (buttons) => Math.max(1, buttons.filter((each) => tileTop(each) === tileTop(buttons[0])).length);
const tileTop = (button) => button.closest("li").offsetTop;

function Tile({ hit, side, mark, act, stop, canDislike, onKeyDown, onFocus }) {
  const caption = captionOf(hit);
  const id = hit.itemId;
  return html`<li class=${`tile ${mark ?? ""}`} onFocusIn=${onFocus}>
    <button class="go" tabindex=${stop} onClick=${() => act.go(id)} onKeyDown=${onKeyDown} aria-label=${`Go on from ${caption}`}><${Thumbnail} id=${id} alt=${caption} /></button>
    <div class="acts">
      <button tabindex=${stop} aria-pressed=${mark === "like"} onClick=${() => act.like(id)} aria-label=${`More like ${caption}`} title="More like this"><${Icon} name="up" /></button>
      <button tabindex=${stop} aria-pressed=${mark === "dislike"} disabled=${!canDislike} onClick=${() => act.dislike(id)} aria-label=${`Less like ${caption}`} title="Less like this"><${Icon} name="down" /></button>
      <button tabindex=${stop} onClick=${() => act.look(hit, side)} aria-label=${`Look at ${caption}`} title="Look closer"><${Icon} name="look" /></button>
    </div>
  </li>`;
}
