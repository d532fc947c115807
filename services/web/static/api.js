// Calls of the HTTP API of this service, and what may go wrong as one error each page state can be drawn from.

const KEY = "scot-key"; // of this tab alone: sessionStorage ends with it
const LARGEST_PICTURE = 20_000_000; // bytes; the service refuses more
const BUSY_MS = [1000, 2000, 4000];

/** What went wrong. `kind`: offline, unavailable, unauthorised, forbidden, busy, slow, missing, refused or broken. */
export class ApiError extends Error {
  constructor(kind, detail, requestId = "") {
    super(detail);
    Object.assign(this, { kind, requestId });
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

const KINDS = { 401: "unauthorised", 403: "forbidden", 404: "missing", 408: "slow", 429: "busy", 503: "unavailable", 504: "slow" };

async function call(path, options) {
  const headers = { ...options.headers, ...(key.get() && { authorization: `Bearer ${key.get()}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("offline", navigator.onLine ? "the page's server does not answer" : "this device is offline");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const kind = KINDS[response.status] ?? (response.status < 500 ? "refused" : "broken");
  throw new ApiError(kind, problem.detail ?? `the server answered with ${response.status}`, problem.request_id);
}

/** The answer of one method, `compose-search` for example. Raises ApiError, and AbortError when `signal` says so. */
export async function post(method, message, signal) {
  const headers = { "content-type": "application/json" };
  const response = await call(`/v1/${method}`, { method: "POST", body: JSON.stringify(message), headers, signal });
  return response.json();
}

/** The vector of a picture. */
export async function encodePicture(blob) {
  if (blob.size > LARGEST_PICTURE) throw new ApiError("refused", "the picture has more than 20 MB");
  const body = new FormData();
  body.append("inputs[0].image", blob, "picture");
  return vectorOf(await (await call("/v1/encode", { method: "POST", body })).json());
}

/** The vector of a text. */
export async function encodeText(text) {
  return vectorOf(await post("encode", { inputs: [{ text }] }));
}

const vectorOf = (encoded) => encoded.vectors[0].values;

/** The address of an item's thumbnail. */
export const pictureUrl = (id, collection) =>
  `/v1/pictures?item_id=${encodeURIComponent(id)}${collection && `&collection=${encodeURIComponent(collection)}`}`;

/** The thumbnail with the key, which an image element cannot send; after a while again where the service is busy. */
export async function fetchPicture(url, waits = BUSY_MS) {
  try {
    return await (await call(url, {})).blob();
  } catch (error) {
    if (error.kind !== "busy" || !waits.length) throw error;
    await new Promise((then) => setTimeout(then, waits[0]));
    return fetchPicture(url, waits.slice(1));
  }
}

/** The picture at an address, read by the browser: the service fetches nothing. */
export async function fetchUrl(url) {
  let response;
  try {
    response = await fetch(url, { credentials: "omit", referrerPolicy: "no-referrer" });
  } catch {
    throw new ApiError("refused", "that site does not let other pages read it. Save the picture and drop it here");
  }
  const blob = await response.blob();
  if (!response.ok || !blob.type.startsWith("image/")) throw new ApiError("refused", "there is no picture at that address");
  return blob;
}
