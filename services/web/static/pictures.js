// Thumbnails. Without a key the browser loads and keeps them itself; with one they are fetched when they come into view.
import { html, useEffect, useRef, useState } from "./ui.js";
import { fetchPicture, key, pictureUrl } from "./api.js";

const KEPT = 400; // thumbnails in memory
const addresses = new Map();

/** Forget what was fetched with another key. */
export function forgetPictures() {
  for (const each of addresses.values()) each.then(URL.revokeObjectURL, () => {});
  addresses.clear();
}

function fetched(id) {
  if (!addresses.has(id)) {
    addresses.set(id, fetchPicture(id).then((blob) => URL.createObjectURL(blob)));
    const [oldest] = addresses.keys();
    if (addresses.size > KEPT) {
      addresses.get(oldest).then(URL.revokeObjectURL, () => {});
      addresses.delete(oldest);
    }
  }
  return addresses.get(id);
}

export function Thumbnail({ id, alt }) {
  const [src, setSrc] = useState(key.get() ? undefined : pictureUrl(id));
  const [absent, setAbsent] = useState(false);
  const box = useRef(null);
  useEffect(() => {
    setAbsent(false);
    setSrc(key.get() ? undefined : pictureUrl(id));
    if (!key.get()) return;
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((each) => each.isIntersecting)) return;
      seen.disconnect();
      fetched(id).then(setSrc, () => setAbsent(true));
    }, { rootMargin: "400px" });
    seen.observe(box.current);
    return () => seen.disconnect();
  }, [id, key.get()]);
  return html`<span class="thumb" ref=${box}>
    ${absent ? html`<span class="absent">${alt || "no picture"}</span>` : src && html`<img src=${src} alt=${alt} loading="lazy" decoding="async" onError=${() => setAbsent(true)} />`}
  </span>`;
}
