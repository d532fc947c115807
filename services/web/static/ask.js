// The field in which a change, a text or the address of a picture is written, and the ways to give a picture.
import { Icon, html, useState } from "./ui.js";
import { fetchUrl } from "./api.js";

const ADDRESS = /^(https:\/\/\S+|data:image\/\S+)$/;

export function Ask({ input, asked, busy, give, say }) {
  const [text, setText] = useState("");
  const begun = asked.trail.length > 0;
  const submit = (event) => {
    event.preventDefault();
    const written = text.trim();
    if (!written) return input.current.focus();
    setText("");
    if (ADDRESS.test(written)) give(() => fetchUrl(written), nameOf(written));
    else say(written);
  };
  const choose = (event) => {
    const [file] = event.target.files;
    if (file) give(async () => file, file.name);
    event.target.value = "";
  };
  const down = (event) => {
    if (event.key === "ArrowDown") document.querySelector(".tile .go")?.focus();
    else if (event.key === "Escape") setText("");
    else return;
    event.preventDefault();
  };
  return html`<form class="ask" role="search" onSubmit=${submit}>
    <label class="file" title="Choose a picture"><${Icon} name="picture" /><span class="hidden">Choose a picture</span>
      <input type="file" accept="image/*" onChange=${choose} disabled=${busy} /></label>
    <label class="file camera" title="Take a picture"><${Icon} name="camera" /><span class="hidden">Take a picture</span>
      <input type="file" accept="image/*" capture="environment" onChange=${choose} disabled=${busy} /></label>
    <input ref=${input} class="words" type="text" maxlength="2000" autocomplete="off" enterkeyhint="search" value=${text}
      aria-label=${begun ? "What to change" : "What to look for, or the link of a picture"}
      placeholder=${begun ? "What should change?" : "Describe it, or paste a picture or its link"}
      onInput=${(event) => setText(event.target.value)} onKeyDown=${down} />
    <button class="send" disabled=${busy}><${Icon} name="search" /><span class="hidden">Search</span></button>
  </form>`;
}

const nameOf = (address) => (address.startsWith("data:") ? "pasted picture" : new URL(address).pathname.split("/").at(-1));
