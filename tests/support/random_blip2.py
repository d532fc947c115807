"""A tiny, randomly initialised BLIP-2 retrieval model in a folder, as transformers itself saves one."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

CONTEXT = 16
_WORDS = "make it red blue striped wide a the shirt with long sleeves and no collar in front of picture"


def save_random_blip2(folder: Path, *, seed: int = 0) -> str:
    """Write model, tokenizer and preprocessing into ``folder``; the name to load it by. Equal seeds give equal ids."""
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32,
            patch_size=8, initializer_range=0.2,
        ),
        qformer_config=Blip2QFormerConfig(
            vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=CONTEXT, initializer_range=0.2, use_qformer_text_input=True,
        ),
        text_config=OPTConfig(
            vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, ffn_dim=8, word_embed_proj_dim=8
        ),
        num_query_tokens=6,
        image_text_hidden_size=24,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Blip2ForImageTextRetrieval(config)
        torch.nn.init.normal_(model.query_tokens)  # zeros otherwise: all queries would be one
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return f"blip2:local-dir:{folder}"


def _tokenizer() -> PreTrainedTokenizerFast:
    """A word-piece tokenizer over single characters and a few words, with BERT's special tokens."""
    wordpiece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer(lowercase=True)
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    wordpiece.train_from_iterator([_WORDS], trainer)
    ids = [(token, wordpiece.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    wordpiece.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=wordpiece, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=512,
    )  # fmt: skip
