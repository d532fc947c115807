// What is done to the page as a whole: the key /, and pictures that are dropped or pasted anywhere.
import { useEffect, useLayoutEffect, useRef } from "./ui.js";
import { slash } from "./options.js";

/** The key / goes to the field of words. */
export function useKeys(input) {
  useLayoutEffect(() => {
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

/** A picture that is dropped or pasted is given. */
export function useDrop(give) {
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
