"""The tiny encoder's tokeniser: byte-level BPE over the worlds' language, so that any text has tokens."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from scot.worlds import World

PAD, BOS, EOS = "<pad>", "<start>", "<end>"


def train_tokenizer(
    out: Path, worlds: Sequence[World], *, vocabulary: int, context: int, seed: int, others: Sequence[str] = ()
) -> int:
    """Train on the worlds' language and ``others``, write a Hugging Face tokenizer, return its size.

    The end token has the highest id, as open_clip's ``argmax`` pooling of the text tower expects.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 1, special_tokens=[PAD, BOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(chain(_language(worlds, seed), others), trainer)
    tokenizer.add_special_tokens([EOS])
    ids = {token: tokenizer.token_to_id(token) for token in (PAD, BOS, EOS)}
    assert ids[PAD] == 0
    assert ids[EOS] == tokenizer.get_vocab_size() - 1
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", special_tokens=[(BOS, ids[BOS]), (EOS, ids[EOS])]
    )
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "model_max_length": context,
        "padding_side": "right",
        "truncation_side": "right",
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return int(tokenizer.get_vocab_size())


def _language(worlds: Sequence[World], seed: int) -> Iterator[str]:
    for world in worlds:
        rng = random.Random(f"{world.name}-{seed}")
        for _ in range(5_000):
            before = world.sample(rng)
            yield world.caption(before, rng)
            yield world.edit(before, world.changed(before, *rng.choice(world.changes(before))), rng)
