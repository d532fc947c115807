"""Multimodal embedders (Qwen3-VL-Embedding, GME, BGE-VL) as encoders, through sentence-transformers.

Names: ``st:ORG/REPO`` (``st:Qwen/Qwen3-VL-Embedding-2B``), ``st:local-dir:PATH``, either with ``?dim=512`` for the
first 512 dimensions of a Matryoshka model. Prompts, pooling and preprocessing are those of the model's own files; code
of its repository is not run. Besides pictures and texts it embeds both in one input (docs/adr/0032-embedders.md).
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import is_sentence_transformer_model
from transformers import AutoConfig

from scot.encoders.base import PairEncoder, TokenizedText, Tokens, Vectors
from scot.encoders.pixel_budget import PixelBudget
from scot.encoders.resizing import Pixels, Resizing
from scot.encoders.towers import unit_rows, weights_hash
from scot.errors import InvalidInput

MOST_PIXELS = 1_000_000
"""Pixels of a picture at most, whatever the model allows: a call between two deployments holds 3 MB."""
_BATCH = 16
_UNCUT: dict[str, Any] = {"text": {"truncation": False}}
_POOLING = ("pooling_mode", "include_prompt")
_PREPROCESSING = (
    "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor", "do_normalize", "image_mean",
    "image_std", "patch_size", "temporal_patch_size", "merge_size", "image_grid_pinpoints", "do_pad",
)  # fmt: skip
_CODE_POINTS = "utf-32-le"


def encoder(name: str, *, device: str, dtype: torch.dtype) -> Embedder:
    """A model; see :func:`scot.encoders.load_encoder`."""
    place, dim = _place(name)
    # The other architectures need a pooling, which only modules.json tells.
    if not is_sentence_transformer_model(place) and AutoConfig.from_pretrained(place).model_type != "clip":
        raise InvalidInput(f"encoder {name!r} is no embedder of sentence-transformers: it has no modules.json")
    with _all_weights(name):
        model = SentenceTransformer(place, device="cpu", model_kwargs={"dtype": "auto"}, truncate_dim=dim)
    transformer: Any = model[0]
    known = set(transformer.modality_config)
    if not {"text", "image"} <= known:
        raise InvalidInput(f"encoder {name!r} embeds {', '.join(map(str, known))}, not both pictures and texts")
    # The id of a folder is that of its weights, wherever the folder is and whatever its name.
    label = "st:local-dir" if name.startswith("st:local-dir:") else name.partition("?")[0]
    return Embedder(label, model, device=device, dtype=dtype)


class Embedder(PairEncoder):
    """A multimodal embedder as a frozen encoder (see :class:`scot.encoders.base.PairEncoder`).

    Pictures and texts are embedded as documents, pairs as queries, each with the model's own prompt for those. A CLIP
    has no input for both: its pair is the sum of both features, as in BGE-VL (arXiv 2412.14475).
    """

    def __init__(self, name: str, model: Any, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self._model, self._tokenizer = model, model.tokenizer
        self._together = "message" in model[0].modality_config
        self.resizing = _resizing(model[0].processor.image_processor)
        # A budget of pixels gives sizes that the processor would keep, but for very narrow ones.
        exact = isinstance(self.resizing, PixelBudget) and self.resizing.multiple > 1
        self._processing = {"image": {"do_resize": False}} if exact else {}
        with model.truncate_embeddings(None):
            whole = int(model.get_embedding_dimension())
        self.dim = whole if model.truncate_dim is None else int(model.truncate_dim)
        if not 1 <= self.dim <= whole:
            raise InvalidInput(f"encoder {name!r} has {whole} dimensions: ?dim= is from 1 to {whole}, not {self.dim}")
        digest = hashlib.sha256(f"{weights_hash(model)}|{_settings(model)}".encode()).hexdigest()[:12]
        self.id = f"{name}@{digest}-{self.dim}d"
        model.eval().requires_grad_(False).to(device=torch.device(device), dtype=dtype)
        added = sorted(set(self._tokenizer.get_added_vocab()) | set(self._tokenizer.all_special_tokens), reverse=True)
        self._special = re.compile("|".join(map(re.escape, added)) or "(?!)", re.IGNORECASE)
        self._context = _context(model)
        self._text_room, self._picture_places = self._context - self._places([]), 0
        if self._together:
            self._picture_places = self._largest_picture()
            if self._context <= self._places([]) + self._picture_places:
                raise InvalidInput(f"encoder {name!r} reads {self._context} tokens, too few for a picture and a text")

    def preprocess(self, image: Image.Image) -> Pixels:
        """Resize an RGB image as the model does, to uint8 ``(H, W, 3)``. Raises ImageRefused: it is too narrow."""
        return self.resizing(image)

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """The code points of texts, cut to what fits: the tokenizer reads a text together with the model's prompt."""
        cut = [self._fitting(text, self._text_room) for text in texts]
        return [TokenizedText(_code_points(text), truncated) for text, truncated in cut]

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed preprocessed images: N × (H, W, 3) uint8 to ``(N, D)`` float32 rows of unit length."""
        return self._rows([{"image": Image.fromarray(each)} for each in pixels], "document")

    def encode_tokens(self, tokens: Sequence[Tokens]) -> Vectors:
        """Embed tokenized texts: N × (L,) int64 to ``(N, D)`` float32 rows of unit length."""
        # A dictionary says that it is a text: a bare string that looks like a path or a URL would be opened.
        return self._rows([{"text": each.astype("<u4").tobytes().decode(_CODE_POINTS)} for each in tokens], "document")

    def encode_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Embed RGB images, to ``(N, D)``."""
        return self.encode_pixels([self.preprocess(image) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts, to ``(N, D)``; a text too long for the context is cut (see :meth:`tokenize`)."""
        return self.encode_tokens([text.tokens for text in self.tokenize(texts)])

    def encode_pairs(self, pixels: Sequence[Sequence[Pixels]], texts: Sequence[str]) -> tuple[Vectors, list[bool]]:
        """Embed pictures and a text in one input each; see :class:`scot.encoders.base.PairEncoder`."""
        rooms = [self._text_room - len(each) * self._picture_places for each in pixels]
        if min(rooms, default=1) < 1:
            raise InvalidInput(f"the encoder {self.id} reads {self._context} tokens, too few for so many pictures")
        fitting = [self._fitting(text, room) for text, room in zip(texts, rooms, strict=True)]
        pairs = [([*map(Image.fromarray, own)], text) for own, (text, _) in zip(pixels, fitting, strict=True)]
        rows_ND = self._joined(pairs) if self._together else self._summed(pairs)
        return rows_ND, [truncated for _, truncated in fitting]

    def _joined(self, pairs: Sequence[tuple[list[Image.Image], str]]) -> Vectors:
        inputs = [{"image": images, "text": text} if images else {"text": text} for images, text in pairs]
        return self._rows(inputs, "query")

    def _summed(self, pairs: Sequence[tuple[list[Image.Image], str]]) -> Vectors:
        texts_ND = self._features([{"text": text} for _, text in pairs], "query")
        if not len(texts_ND):
            return self._rows([], "query")
        images = self._features([{"image": image} for own, _ in pairs for image in own], "query")
        shown = images.split([len(own) for own, _ in pairs])
        rows = [text_D + own.mean(0) if len(own) else text_D for text_D, own in zip(texts_ND, shown, strict=True)]
        return unit_rows(torch.stack(rows))

    def _rows(self, inputs: list[dict[str, Any]], task: str) -> Vectors:
        return unit_rows(self._features(inputs, task))

    def _features(self, inputs: list[dict[str, Any]], task: str) -> torch.Tensor:
        """What the model gives for each input, ``(N, D)`` float32, before it is normalised."""
        if not inputs:
            return torch.zeros(0, self.dim)
        encode = self._model.encode_query if task == "query" else self._model.encode_document
        rows: torch.Tensor = encode(
            inputs, batch_size=_BATCH, convert_to_tensor=True, show_progress_bar=False,
            processing_kwargs=self._processing,
        )  # fmt: skip
        return rows.float().cpu()

    def _fitting(self, text: str, room: int) -> tuple[str, bool]:
        """A text cut to a number of tokens, and whether it was; a special token in it becomes ordinary text."""
        plain = self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
        read = self._tokenizer(plain, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        places = read["offset_mapping"]
        return (plain, False) if len(places) <= room else (plain[: places[room - 1][1]], True)

    def _places(self, images: list[Image.Image]) -> int:
        """How many tokens an input has besides those of its text, with the longer of the two prompts."""
        given: Any = {"image": images, "text": "a"} if images else {"text": "a"}
        own = len(self._tokenizer("a", add_special_tokens=False)["input_ids"])
        prompts = {self._model.prompts.get(task) or None for task in ("query", "document")}
        read = [
            self._model.preprocess([given], prompt=each, processing_kwargs=self._processing | _UNCUT)
            for each in prompts
        ]
        return max(int(each["input_ids"].shape[-1]) for each in read) - own

    def _largest_picture(self) -> int:
        """The most tokens that a picture has."""
        shapes = ((1_000, 1_000), (2_000, 1_000), (1_000, 2_000))
        pictures = [Image.fromarray(self.resizing(Image.new("RGB", shape))) for shape in shapes]
        return max(self._places([picture]) for picture in pictures) - self._places([])


def _place(name: str) -> tuple[str, int | None]:
    """What sentence-transformers loads from, a folder or a hub repository, and how many dimensions are used."""
    place, marked, dim = name.removeprefix("st:").partition("?dim=")
    if marked and not dim.isdecimal():
        raise InvalidInput(f"encoder {name!r}: ?dim= needs a whole number")
    folder = place.removeprefix("local-dir:")
    if folder != place and not Path(folder).is_dir():
        raise InvalidInput(f"encoder {name!r} cannot be loaded: there is no folder {folder}")
    if not folder:
        raise InvalidInput(f"encoder {name!r} is neither st:ORG/REPO nor st:local-dir:PATH")
    return folder, int(dim) if marked else None


@contextmanager
def _all_weights(name: str) -> Iterator[None]:
    """Refuse a model with weights missing, which would be random: transformers only logs it, in a table."""
    reports: list[str] = []
    logger = logging.getLogger("transformers.modeling_utils")
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: reports.append(record.getMessage())  # type: ignore[method-assign]
    propagated, logger.propagate = logger.propagate, False  # a head that no embedder has is reported too
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated
    if lost := re.findall(r"^(\S+)\s*\|\s*MISSING", "\n".join(reports), re.MULTILINE):
        raise InvalidInput(f"encoder {name!r} is incomplete: its weights lack {lost[0]} and {len(lost) - 1} others")


def _settings(model: Any) -> str:
    """What decides a vector besides the weights, as JSON; nothing that another version of a library merely adds."""
    processor = model[0].processor
    images = json.loads(processor.image_processor.to_json_string())
    described: Mapping[str, Any] = {
        "modules": [[type(each).__name__, *(getattr(each, name, None) for name in _POOLING)] for each in model],
        "prompts": [model.prompts, model.default_prompt_name],
        "processing": model[0].processing_kwargs,
        "template": getattr(processor, "chat_template", None),
        "images": {name: images[name] for name in _PREPROCESSING if name in images},
        "most": MOST_PIXELS,
    }
    return json.dumps(described, sort_keys=True, default=str)


def _context(model: Any) -> int:
    """The most tokens of an input."""
    positions = getattr(model[0].config.get_text_config(), "max_position_embeddings", None)
    return int(min(each for each in (model.max_seq_length, positions) if each is not None))


def _resizing(processor: Any) -> PixelBudget | Resizing:
    """What can be done to a picture before the model's own processor sees it, which then leaves its size alone."""
    size, crop = dict(processor.size or {}), dict(getattr(processor, "crop_size", None) or {})
    resample = Image.Resampling(int(processor.resample))
    if merge := getattr(processor, "merge_size", None):
        most, least = int(size["longest_edge"]), int(size["shortest_edge"])
        return PixelBudget(min(most, MOST_PIXELS), least, int(processor.patch_size) * int(merge), resample)
    edge, tiles = size.get("shortest_edge"), getattr(processor, "image_grid_pinpoints", None)
    if edge is not None and processor.do_center_crop and crop == {"height": edge, "width": edge} and not tiles:
        return Resizing((int(edge), int(edge)), "shortest", resample)
    return PixelBudget(MOST_PIXELS, resample=resample)


def _code_points(text: str) -> Tokens:
    points: Tokens = np.frombuffer(text.encode(_CODE_POINTS), "<u4").astype(np.int64)
    return points
