// Pictures that were given to this tab: their vectors and small previews. They are in no address and in no gallery.
import { ApiError, encodePicture } from "./api.js";

const STORE = "scot-uploads"; // so that they survive a reload; sessionStorage ends with the tab
const SIDE = 192; // pixels of a preview
const KEPT = 20;

const read = () => {
  try {
    return JSON.parse(sessionStorage.getItem(STORE)) ?? {};
  } catch {
    return {};
  }
};
const held = read();

export const vectors = new Proxy(held, { get: (all, key) => (Object.hasOwn(all, key) ? all[key].vector : undefined) });
export const preview = (key) => (Object.hasOwn(held, key) ? held[key].preview : "");

/** The step of an uploaded picture, encoded by the service; in place of the step `key`, when given. */
export async function upload(blob, name, key = crypto.getRandomValues(new Uint32Array(2)).join("-")) {
  const [vector, small] = await Promise.all([encodePicture(blob), shrunk(blob)]);
  if (!vector?.length) throw new ApiError("broken", "the service gave no vector");
  held[key] = { vector, preview: small };
  for (const old of Object.keys(held).slice(0, -KEPT)) delete held[old];
  try {
    sessionStorage.setItem(STORE, JSON.stringify(held));
  } catch {
    // a full or forbidden store: the pictures last until the next reload
  }
  return { kind: "picture", key, name: name.slice(0, 200) };
}

async function shrunk(blob) {
  try {
    const bitmap = await createImageBitmap(blob);
    const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/webp", 0.8);
  } catch {
    return ""; // a format that the service reads and this browser does not
  }
}
