"""Tiny multimodal embedders with random weights, of the real architectures, in folders as their libraries save them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)
from transformers.models.clip import CLIPImageProcessor
from transformers.models.llava_next import LlavaNextImageProcessor
from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLVideoProcessor
from transformers.models.qwen3_vl import Qwen3VLVideoProcessor

INSTRUCTION, QUERY = "Represent the user's input.", "Retrieve pictures that show what the user asks for."
DIM = 64
_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>", "<image>", "<s>", "</s>",
)  # fmt: skip
_WORDS = "system user assistant make it red and blue with long sleeves, a striped shirt as wide as that one. " + QUERY
_PART = "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
_QWEN = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\n" + INSTRUCTION + "<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}" + _PART + "{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_MISTRAL = (
    "{% for m in messages %}{% for part in m.content %}{% if m.role == 'system' %}<s>[INST] {{ part.text }} "
    "{% elif part.type == 'image' %}<image>\n{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %} [/INST]"
)


def save_random_qwen3_vl(folder: Path, **changes: Any) -> Path:
    """An embedder as Qwen3-VL-Embedding: the last token, an instruction in the system turn, which queries replace."""
    tokenizer = _tokenizer(_QWEN)
    pixels = {"min_pixels": 2 * 32 * 32, "max_pixels": 24 * 32 * 32, "patch_size": 16, "merge_size": 2}
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(**pixels), tokenizer, Qwen3VLVideoProcessor(**pixels), chat_template=_QWEN
    )
    text = _text_config(tokenizer, head_dim=32, pad_token_id=tokenizer.pad_token_id)
    text["rope_parameters"]["mrope_interleaved"] = True  # as published; vLLM reads it
    config = Qwen3VLConfig(
        text_config=text,
        vision_config={
            "depth": 2, "hidden_size": 64, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": DIM,
            "deepstack_visual_indexes": [0], "num_position_embeddings": 64, "initializer_range": 0.1,
        },
        **_vision_tokens(tokenizer),
    )  # fmt: skip
    _save(folder, Qwen3VLForConditionalGeneration, config, processor)
    return _embedder(folder, prompts={"query": QUERY}, **changes)


def save_random_qwen2_vl(folder: Path, **changes: Any) -> Path:
    """An embedder as GME: Qwen2-VL, read at ``<|endoftext|>`` after the assistant's turn begins."""
    template = _QWEN.replace(INSTRUCTION, "You are a helpful assistant.")
    template = template.replace("assistant\n", "assistant\n<|endoftext|>")
    tokenizer = _tokenizer(template)
    pixels = {"min_pixels": 2 * 28 * 28, "max_pixels": 24 * 28 * 28}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(**pixels), tokenizer, Qwen2VLVideoProcessor(**pixels), chat_template=template
    )
    config = Qwen2VLConfig(
        text_config=_text_config(tokenizer),
        vision_config={"depth": 2, "embed_dim": 64, "hidden_size": DIM, "num_heads": 2, "mlp_ratio": 1},
        **_vision_tokens(tokenizer),
    )
    _save(folder, Qwen2VLForConditionalGeneration, config, processor)
    return _embedder(folder, **changes)


def save_random_llava_next(folder: Path, **changes: Any) -> Path:
    """An embedder as BGE-VL-MLLM: LLaVA-NeXT over Mistral, read at the last token."""
    tokenizer = _tokenizer(_MISTRAL)
    grid = [[32, 64], [64, 32]]
    processor = LlavaNextProcessor(
        LlavaNextImageProcessor(size={"shortest_edge": 32}, crop_size=32, image_grid_pinpoints=grid),
        tokenizer, patch_size=16, vision_feature_select_strategy="default", chat_template=_MISTRAL,
        num_additional_image_tokens=1,
    )  # fmt: skip
    config = LlavaNextConfig(
        text_config={
            "model_type": "mistral", "vocab_size": len(tokenizer), "hidden_size": DIM, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.1,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**_TOWER, "image_size": 32, "patch_size": 16, "model_type": "clip_vision_model"},
        image_grid_pinpoints=grid, image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    _save(folder, LlavaNextForConditionalGeneration, config, processor)
    return _embedder(folder, prompts={"query": QUERY}, **changes)


def save_random_clip(folder: Path) -> Path:
    """A CLIP as transformers saves it, as BGE-VL's base and large models are."""
    tokenizer = _tokenizer("", context=24)
    image_processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 24, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPConfig(
        text_config={**_TOWER, **text, "bos_token_id": None},
        vision_config={**_TOWER, "image_size": 32, "patch_size": 8},
        projection_dim=32,
    )
    _save(folder, CLIPModel, config, CLIPProcessor(image_processor, tokenizer))
    return folder


_TOWER = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 32,
    "initializer_range": 0.1,
}  # fmt: skip


def _text_config(tokenizer: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer), "hidden_size": DIM, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 2_048, "initializer_range": 0.1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
        "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, **more,
    }  # fmt: skip


def _vision_tokens(tokenizer: PreTrainedTokenizerFast) -> Mapping[str, int]:
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}


def _tokenizer(template: str, *, context: int = 4_096) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(_SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([_WORDS], trainer)
    if not template:
        ids = [(token, bpe.token_to_id(token)) for token in ("<|im_start|>", "<|im_end|>")]
        bpe.post_processor = processors.TemplateProcessing(single="<|im_start|> $A <|im_end|>", special_tokens=ids)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=context,
        extra_special_tokens=list(_SPECIAL),
    )  # fmt: skip
    if template:
        tokenizer.chat_template = template
    return tokenizer


def _save(folder: Path, model: Any, config: Any, processor: Any) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def _embedder(folder: Path, *, prompts: Mapping[str, str] | None = None, **changes: Any) -> Path:
    """Read at the last token and normalised, as sentence-transformers saves it."""
    kwargs: Any = {"processing_kwargs": {"chat_template": {"add_generation_prompt": True}}, **changes}
    modules = [Transformer(str(folder), **kwargs), Pooling(DIM, "lasttoken"), Normalize()]
    SentenceTransformer(modules=modules, prompts=dict(prompts or {}), device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    return folder
