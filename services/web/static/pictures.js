// Thumbnails. Without a key the browser loads and keeps them itself; with one they are fetched when they come into view.
import { Collection, html, useContext, useEffect, useState } from "./ui.js";
import { fetchPicture, key, pictureUrl } from "./api.js";

const KEPT = 400; // thumbnails in memory
const addresses = new Map();

/** Forget what was fetched with another key. */
export function forgetPictures() {
  for (const each of addresses.values()) each.then(URL.revokeObjectURL, () => {});
  addresses.clear();
}

function fetched(url) {
  if (!addresses.has(url)) {
    const address = fetchPicture(url).then((blob) => URL.createObjectURL(blob));
    addresses.set(url, address);
    address.catch(() => addresses.get(url) === address && addresses.delete(url)); // another time it may be there
    const [oldest] = addresses.keys();
    if (addresses.size > KEPT) {
      addresses.get(oldest).then(URL.revokeObjectURL, () => {});
      addresses.delete(oldest);
    }
  }
  return addresses.get(url);
}

/** The picture of an item, or its words where there is none. `wait`: not to ask for it yet, because it passes by. */
export function Thumbnail({ id, alt, wait = false }) {
  const url = pictureUrl(id, useContext(Collection));
  const of = `${key.get()} ${url}`;
  const [state, setState] = useState(() => (key.get() || wait ? {} : { of, src: url })); // `src`, or that it is `absent`
  const known = state.of === of;
  useEffect(() => {
    if (known || wait) return;
    let gone = false;
    const found = (shown) => gone || setState({ of, ...shown });
    if (key.get()) fetched(url).then((src) => found({ src }), () => found({ absent: true }));
    else found({ src: url });
    return () => (gone = true);
  }, [of, wait, known]);
  const absent = () => setState({ of, absent: true });
  return html`<span class="thumb">
    ${known && (state.absent ? html`<span class="absent">${alt || "no picture"}</span>` : html`<img src=${state.src} alt=${alt} decoding="async" onError=${absent} />`)}
  </span>`;
}
