"""The composer that attends to patches and words: what it reads, what it ignores, and what it needs."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from scot.composers import load_composer, save_composer
from scot.composers.architectures import build
from scot.composers.base import States, padded
from scot.composers.token_combiner import CrossAttention
from scot.embeddings.cache import TripletEmbeddings
from scot.errors import InvalidInput
from scot.training.config import TrainConfig
from scot.training.loop import Trainer
from tests.support.composer_inputs import some_settings, some_states
from tests.support.synthetic_triplets import synthetic_triplets

SMALL = TrainConfig(
    projection=64, hidden=64, batch_size=128, steps=120, lr=3e-3, eval_every=40, held_out=0.2, precision="float32"
)


def test_cross_attention_is_over_the_states_and_a_learned_one() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(states=3, query_input=2, width=2, heads=1)
    query_input_BA, values_BLW = torch.randn(1, 2), torch.randn(1, 2, 3)
    kv_LK = torch.cat([attention.key_value(attention.norm(values_BLW))[0], attention.nothing[None]])
    weights_HL = torch.softmax(attention.query(query_input_BA)[0] @ kv_LK[:, :2].T / 2**0.5, dim=-1)
    output = attention(query_input_BA, States(values_BLW, torch.ones(1, 2, dtype=torch.bool)))
    torch.testing.assert_close(output, (weights_HL @ kv_LK[:, 2:])[None])


def test_masked_states_are_ignored() -> None:
    module = build("token_combiner", some_settings("token_combiner")).eval()
    image_BD, text_BD = normalize(torch.randn(2, 6, 8), dim=-1)
    states = some_states("token_combiner", 6)
    other = [States(torch.where(each.mask_BL[..., None], each.values_BLW, 9.0), each.mask_BL) for each in states]
    longer = [
        States(*(torch.nn.functional.pad(part, pad) for part, pad in zip(each, ((0, 0, 0, 2), (0, 2)), strict=True)))
        for each in states
    ]
    query_BD = module(image_BD, text_BD, *states)
    torch.testing.assert_close(module(image_BD, text_BD, *other), query_BD)
    torch.testing.assert_close(module(image_BD, text_BD, *longer), query_BD)


def test_a_row_without_states_is_answered_alike_in_every_batch() -> None:
    module = build("token_combiner", some_settings("token_combiner")).eval()
    image_BD, text_BD = normalize(torch.randn(2, 2, 8), dim=-1)
    _, edits = some_states("token_combiner", 2)
    patches = np.ones((3, 6), np.float16)
    mixed = module(image_BD, text_BD, padded([None, patches]), edits)
    alone = module(image_BD, text_BD, padded([None, None]), edits)
    torch.testing.assert_close(mixed[0], alone[0])
    assert not torch.allclose(mixed[1], alone[1])


@pytest.mark.parametrize("share", [math.nextafter(1.0, 0.0), 1.0])
def test_references_are_hidden_while_it_learns_and_all_of_them_always(share: float) -> None:
    module = build("token_combiner", {**some_settings("token_combiner"), "patch_dropout": share, "dropout": 0.0})
    image_BD, text_BD = normalize(torch.randn(2, 6, 8), dim=-1)
    shown, edits = some_states("token_combiner", 6)
    hidden = States(shown.values_BLW, torch.zeros_like(shown.mask_BL))
    torch.testing.assert_close(module(image_BD, text_BD, shown, edits), module(image_BD, text_BD, hidden, edits))
    module.eval()
    equal = torch.allclose(module(image_BD, text_BD, shown, edits), module(image_BD, text_BD, hidden, edits))
    assert equal == (share == 1.0)


def test_an_artifact_of_an_earlier_version_still_loads(tmp_path: Path) -> None:
    """Its config.json says ``blind``, the earlier name of ``patch_dropout``."""
    module = build("token_combiner", {**some_settings("token_combiner"), "patch_dropout": 0.25})
    path = save_composer(tmp_path / "old", module, encoder_id="e", dim=8)
    config = json.loads((path / "config.json").read_text())
    config["config"]["blind"] = config["config"].pop("patch_dropout")
    (path / "config.json").write_text(json.dumps(config))
    loaded = load_composer(path, encoder_id="e", dim=8)
    assert loaded.module.config == module.config
    assert loaded.module.config.patch_dropout == 0.25


@pytest.fixture(scope="module")
def unspoken() -> TripletEmbeddings:
    """Triplets whose edits all have one vector: what they say is in their hidden states alone."""
    data = synthetic_triplets()
    text_VD = data.text_VD.clone()
    text_VD[data.edit_N] = text_VD[data.edit_N[0]].clone()
    return dataclasses.replace(data, text_VD=text_VD)


def test_it_reads_what_the_vector_of_an_edit_does_not_say(unspoken: TripletEmbeddings) -> None:
    reached = {}
    for architecture in ("combiner", "token_combiner"):
        run = Trainer(unspoken, dataclasses.replace(SMALL, architecture=architecture))
        list(run.run())
        reached[architecture] = run.best["recall@1"]
    assert reached["combiner"] < 0.2
    assert reached["token_combiner"] > 0.5


def test_a_cache_without_states_is_refused() -> None:
    data = synthetic_triplets()
    plain = dataclasses.replace(data, info=dataclasses.replace(data.info, states={}), image_states=None)
    with pytest.raises(InvalidInput, match=r"token_combiner reads hidden states, .* encode again with --states"):
        Trainer(plain, dataclasses.replace(SMALL, architecture="token_combiner"))


@pytest.mark.parametrize(
    ("setting", "value"), [("image_states", 0), ("heads", 0), ("patch_dropout", 1.5), ("width", -1)]
)
def test_settings_that_cannot_be_are_refused(setting: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=setting.rsplit("_", maxsplit=1)[-1]):
        build("token_combiner", {**some_settings("token_combiner"), setting: value})
