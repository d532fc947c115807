"""The question that a vision-language model is asked about one candidate: versioned files, and the chat made from one.

What is the same for all candidates of a query comes first, so that a server computes it once (prefix caching). The edit
is a JSON string: data, never an instruction.
"""

from __future__ import annotations

import base64
import json
import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

from scot.edits.prompt import clean
from scot.errors import InvalidInput

DEFAULT_PROMPT = "rerank-1"
_TYPES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}


@dataclass(frozen=True, slots=True)
class RerankPrompt:
    """A version of the question, in its parts."""

    version: str
    system: str
    reference: str
    edit: str
    candidate: str
    question: str
    text_only: str

    @classmethod
    def load(cls, version: str = DEFAULT_PROMPT) -> RerankPrompt:
        """Read a version of this package. Raises InvalidInput when there is no such version."""
        folder = resources.files("scot.rerank") / "prompts"
        known = sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))
        if version not in known:
            raise InvalidInput(f"rerank_prompt must be one of {', '.join(known)}, not {version!r}")
        raw = tomllib.loads((folder / f"{version}.toml").read_text(encoding="utf-8"))
        return cls(
            version, **{each.name: str(raw[each.name]).strip() for each in fields(cls) if each.name != "version"}
        )

    def messages(self, edit: str, reference: bytes | None, candidate: bytes) -> list[dict[str, Any]]:
        """The chat about one candidate. Pictures are encoded: PNG, JPEG, WebP or GIF."""
        said = _text(self.edit.format(edit=json.dumps(clean(edit), ensure_ascii=False)))
        shown = [] if reference is None else [_text(self.reference), _picture(reference)]
        content = [*shown, said, _text(self.candidate), _picture(candidate), _text(self.question)]
        system = self.text_only if reference is None else self.system
        return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _picture(data: bytes) -> dict[str, Any]:
    kind = next((kind for begin, kind in _TYPES.items() if data.startswith(begin)), "jpeg")
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{base64.b64encode(data).decode()}"}}
