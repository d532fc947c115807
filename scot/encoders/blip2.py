"""BLIP-2's image–text retrieval model (Li et al. 2023, arXiv 2301.12597) as an encoder, through transformers.

Names: ``blip2:ORG/REPO`` (``blip2:Salesforce/blip2-itm-vit-g``), ``blip2:local-dir:PATH``. The Q-Former gives V = 32
vectors q_v for each image and one vector t for each text; the model's score is s(t, I) = max_v cos(t, q_v).
Callers that need one vector for each image get their normalised mean (docs/adr/0007-blip2-vectors.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn.functional import normalize
from transformers import AutoTokenizer, Blip2Config, Blip2ForImageTextRetrieval
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from scot.encoders.base import MultiVectors, TokenizedText, Tokens, Vectors
from scot.encoders.resizing import Pixels, Resizing
from scot.encoders.towers import Towers, in_batches, unit_rows, weights_hash
from scot.errors import InvalidInput

_CLASS = "Blip2ForImageTextRetrieval"


def encoder(name: str, *, device: str, dtype: torch.dtype) -> Blip2Encoder:
    """A model; see :func:`scot.encoders.load_encoder`."""
    place = _place(name)
    config = _config(name, place)
    loaded: Any = Blip2ForImageTextRetrieval.from_pretrained(place, dtype=torch.float32, output_loading_info=True)
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise InvalidInput(
            f"encoder {name!r} is incomplete: its weights lack {missing[0]} and {len(missing) - 1} others"
        )
    # The id of a folder is that of its weights, wherever the folder is and whatever its name.
    label = "blip2:local-dir" if name.startswith("blip2:local-dir:") else name
    return Blip2Encoder(label, model, config, *_processor_and_tokenizer(place), device=device, dtype=dtype)


class Blip2Encoder(Towers):
    """A BLIP-2 retrieval model as a frozen encoder (see :class:`scot.encoders.base.MultiVectorEncoder`)."""

    def __init__(
        self,
        name: str,
        model: Any,
        config: Any,
        processor: Any,
        tokenizer: Any,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.resizing = _resizing(processor)
        self._tokenizer = tokenizer
        self._context = min(int(tokenizer.model_max_length), int(config.qformer_config.max_position_embeddings))
        self._mean = torch.tensor(processor.image_mean, dtype=torch.float32).view(1, 3, 1, 1)
        self._std = torch.tensor(processor.image_std, dtype=torch.float32).view(1, 3, 1, 1)
        self.dim = int(config.image_text_hidden_size)
        self.vectors_per_image = int(config.num_query_tokens)
        digest = hashlib.sha256(f"{weights_hash(model)}|{processor.to_json_string()}".encode()).hexdigest()[:12]
        self.id = f"{name}@{digest}-{self.dim}d"
        self._device, self._dtype = torch.device(device), dtype
        self._model = model.eval().requires_grad_(False).to(self._device)
        self._model.vision_model.to(dtype)  # the Q-Former stays in float32, as its authors keep it

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Token ids of texts, each padded or cut to the context of the Q-Former."""
        if not texts:
            return []
        # A special token in a text is split: it is text. One more place than the context shows whether a text was cut.
        longer = self._tokenizer(
            list(texts), truncation=True, max_length=self._context + 1, split_special_tokens=True, verbose=False
        )["input_ids"]
        rows = self._tokenizer(
            list(texts), truncation=True, padding="max_length", max_length=self._context, split_special_tokens=True
        )["input_ids"]
        return [
            TokenizedText(np.asarray(row, np.int64), len(more) > self._context)
            for row, more in zip(rows, longer, strict=True)
        ]

    def encode_pixels_multi(self, pixels: Sequence[Pixels]) -> MultiVectors:
        """Embed preprocessed images: N × (H, W, 3) uint8 to ``(N, V, D)`` float32, the last dimension unit."""
        rows = [self._image_rows(np.stack(chunk)) for chunk in in_batches(pixels)]
        return np.concatenate(rows) if rows else np.zeros((0, self.vectors_per_image, self.dim), np.float32)

    def pool(self, vectors_NVD: MultiVectors) -> Vectors:
        """The normalised mean of each image's vectors: ``(N, V, D)`` to ``(N, D)``."""
        return normalize(torch.from_numpy(vectors_NVD).mean(1), dim=-1).numpy()

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        """Embed preprocessed images by one vector each: N × (H, W, 3) uint8 to ``(N, D)`` float32 unit rows."""
        return self.pool(self.encode_pixels_multi(pixels))

    @torch.inference_mode()
    def _image_rows(self, pixels_BHWC: Pixels) -> MultiVectors:
        return unit_rows(self._model.vision_projection(self._queries(pixels_BHWC)))

    @torch.inference_mode()
    def _image_states(self, pixels_BHWC: Pixels) -> tuple[Vectors, torch.Tensor]:
        queries_BVH = self._queries(pixels_BHWC)
        return self.pool(unit_rows(self._model.vision_projection(queries_BVH))), queries_BVH

    def _text_rows(self, tokens_BL: Tokens, used: int) -> Vectors:
        return self._text_states(tokens_BL, used)[0]

    # The two halves of Blip2ForImageTextRetrieval.forward without its matching head; it offers only both at once.

    @torch.inference_mode()
    def _queries(self, pixels_BHWC: Pixels) -> torch.Tensor:
        images = self._normalised(pixels_BHWC)
        patches_BPH = self._model.vision_model(pixel_values=images.to(self._dtype)).last_hidden_state
        queries_BVH: torch.Tensor = self._model.qformer(
            query_embeds=self._model.query_tokens.expand(len(images), -1, -1),
            encoder_hidden_states=patches_BPH,
            encoder_attention_mask=torch.ones(patches_BPH.shape[:-1], dtype=torch.long, device=self._device),
        ).last_hidden_state
        return queries_BVH

    def _used_lengths(self, tokens_NL: Tokens) -> npt.NDArray[np.int64]:
        used_N: npt.NDArray[np.int64] = (tokens_NL != self._tokenizer.pad_token_id).sum(1)
        return used_N

    @torch.inference_mode()
    def _text_states(self, tokens_BL: Tokens, used: int) -> tuple[Vectors, torch.Tensor]:
        tokens = torch.from_numpy(tokens_BL[:, :used]).to(self._device)
        states_BLH = self._model.qformer(
            query_embeds=self._model.embeddings(input_ids=tokens),
            query_length=0,
            attention_mask=(tokens != self._tokenizer.pad_token_id).long(),
        ).last_hidden_state
        return unit_rows(self._model.text_projection(states_BLH[:, 0])), states_BLH


def _place(name: str) -> str:
    """What transformers loads from: a folder or a hub repository."""
    place = name.removeprefix("blip2:")
    folder = place.removeprefix("local-dir:")
    if folder != place and not Path(folder).is_dir():
        raise InvalidInput(f"encoder {name!r} cannot be loaded: there is no folder {folder}")
    if not folder:
        raise InvalidInput(f"encoder {name!r} is neither blip2:ORG/REPO nor blip2:local-dir:PATH")
    return folder


def _config(name: str, place: str) -> Any:
    """The model's config. Checks its class: transformers would fill another one with random weights."""
    raw, _ = Blip2Config.get_config_dict(place)
    if not raw:
        raise InvalidInput(f"encoder {name!r} cannot be loaded: there is no config.json of transformers")
    made_for = (raw.get("architectures") or [raw.get("model_type")])[0]
    if made_for != _CLASS:
        raise InvalidInput(f"encoder {name!r} is a {made_for}, and BLIP-2's retrieval model is a {_CLASS}")
    return Blip2Config.from_pretrained(place)


def _processor_and_tokenizer(place: str) -> tuple[Any, Any]:
    return BlipImageProcessorPil.from_pretrained(place), AutoTokenizer.from_pretrained(place)


def _resizing(processor: Any) -> Resizing:
    """What the processor does to the size of an image. Raises InvalidInput: anything else than to one size."""
    size = dict(processor.size)
    if not processor.do_resize or set(size) != {"height", "width"} or getattr(processor, "do_center_crop", None):
        raise InvalidInput(f"the image processor must resize to one height and width, not {size}")
    return Resizing((size["height"], size["width"]), "squash", Image.Resampling(int(processor.resample)))
