"""Multimodal embedders as encoders: their authors' formulas, worked out here by hand, and clear refusals."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize
from transformers import AutoModel, AutoProcessor

from scot.encoders import PairEncoder, Resizing, StateEncoder, load_encoder
from scot.errors import InvalidInput
from tests.support import random_embedder
from tests.support.random_embedder import INSTRUCTION, QUERY

PROMPTS = {
    "qwen3_vl": (INSTRUCTION, QUERY),
    "qwen2_vl": ("You are a helpful assistant.", "You are a helpful assistant."),
    "llava_next": ("", QUERY),
}
"""What each family is told about documents and about queries."""
EDIT = "make it red"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            save = getattr(random_embedder, f"save_random_{family}")
            made[family] = save(tmp_path_factory.mktemp("embedder") / family)
        return made[family]

    return folder


@pytest.fixture(scope="module")
def loaded(folders: Callable[[str], Path]) -> Callable[[str], PairEncoder]:
    made: dict[str, Any] = {}

    def load(family: str) -> PairEncoder:
        if family not in made:
            made[family] = load_encoder(f"st:local-dir:{folders(family)}")
        assert isinstance(made[family], PairEncoder)
        return made[family]

    return load


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = random.Random(0)
    sizes = [(rng.randint(20, 190), rng.randint(20, 190)) for _ in range(3)]
    return [Image.effect_noise(size, 80).convert("RGB") for size in sizes] + [Image.new("RGB", (64, 64), "teal")]


def written(family: str, instruction: str, images: int, text: str) -> str:
    """The input of the authors' code, with one place for each picture."""
    if family == "llava_next":
        return f"{instruction and f'<s>[INST] {instruction} '}{'<image>' + chr(10) if images else ''}{text} [/INST]"
    shown = "<|vision_start|><|image_pad|><|vision_end|>" * images
    end = "<|endoftext|>" if family == "qwen2_vl" else ""
    return (
        f"<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{shown}{text}<|im_end|>\n"
        f"<|im_start|>assistant\n{end}"
    )


@torch.inference_mode()
def by_hand(folder: Path, text: str, *images: Image.Image) -> np.ndarray[Any, Any]:
    """The last hidden state of the last token, normalised: Qwen3VLEmbedder.process, GmeQwen2VL.embed."""
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    resized = {} if "llava" in folder.name else {"do_resize": False}
    inputs = processor(text=[text], images=[*images] or None, return_tensors="pt", **(resized if images else {}))
    states_BLH = model(**inputs).last_hidden_state
    assert states_BLH.shape[:2] == inputs["input_ids"].shape
    row: np.ndarray[Any, Any] = normalize(states_BLH[:, -1], dim=-1).numpy()[0]
    return row


@pytest.mark.parametrize("family", PROMPTS)
def test_vectors_are_those_of_the_authors_formula(
    family: str, folders: Callable[[str], Path], loaded: Callable[[str], PairEncoder], pictures: list[Image.Image]
) -> None:
    instruction, query = PROMPTS[family]
    encoder, folder = loaded(family), folders(family)
    pixels = [encoder.preprocess(picture) for picture in pictures]
    shown = [Image.fromarray(each) for each in pixels]
    images_ND, texts_ND = encoder.encode_pixels(pixels), encoder.encode_texts([EDIT, "a"])
    queries_ND, truncated_N = encoder.encode_pairs([[each] for each in pixels], [EDIT] * len(pixels))
    for row, picture in enumerate(shown):
        expected = by_hand(folder, written(family, instruction, 1, ""), picture)
        np.testing.assert_allclose(images_ND[row], expected, atol=2e-5)
        expected = by_hand(folder, written(family, query, 1, EDIT), picture)
        np.testing.assert_allclose(queries_ND[row], expected, atol=2e-5)
    np.testing.assert_allclose(texts_ND[0], by_hand(folder, written(family, instruction, 0, EDIT)), atol=2e-5)
    assert truncated_N == [False] * len(pixels)
    assert np.linalg.norm(queries_ND - images_ND, axis=1).min() > 0.02  # the edit counts
    assert np.linalg.norm(queries_ND[0] - queries_ND[1]) > 0.02  # and so does the picture


@torch.inference_mode()
def test_a_clip_adds_the_features_of_both_as_bge_vl(
    folders: Callable[[str], Path], loaded: Callable[[str], PairEncoder], pictures: list[Image.Image]
) -> None:
    encoder, folder = loaded("clip"), folders("clip")
    assert isinstance(encoder.resizing, Resizing)
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    resized = [Image.fromarray(encoder.preprocess(each)) for each in pictures]
    images = model.get_image_features(**processor(images=resized, return_tensors="pt")).pooler_output
    texts = model.get_text_features(**processor(text=[EDIT] * len(pictures), return_tensors="pt")).pooler_output
    queries_ND, _ = encoder.encode_pairs([[encoder.preprocess(each)] for each in pictures], [EDIT] * len(pictures))
    np.testing.assert_allclose(queries_ND, normalize(images + texts, dim=-1).numpy(), atol=2e-5)
    np.testing.assert_allclose(encoder.encode_images(pictures), normalize(images, dim=-1).numpy(), atol=2e-5)
    # Without a picture the text alone; of several pictures their mean.
    pixels = [encoder.preprocess(each) for each in pictures[:2]]
    (none, both), _ = encoder.encode_pairs([[], pixels], [EDIT, EDIT])
    np.testing.assert_allclose(none, normalize(texts[0], dim=-1).numpy(), atol=2e-5)
    np.testing.assert_allclose(both, normalize(texts[0] + images[:2].mean(0), dim=-1).numpy(), atol=2e-5)


@pytest.mark.parametrize("family", [*PROMPTS, "clip"])
def test_rows_are_unit_and_do_not_depend_on_the_batch(
    family: str, loaded: Callable[[str], PairEncoder], pictures: list[Image.Image]
) -> None:
    encoder = loaded(family)
    assert not isinstance(encoder, StateEncoder)
    pixels, texts = [encoder.preprocess(each) for each in pictures], ["", EDIT, "as wide as that one, and striped"]
    asked = [[], pixels[:1], pixels[1:3], pixels[3:]]
    pairs_ND, _ = encoder.encode_pairs(asked, [*texts, EDIT])
    for rows in (encoder.encode_pixels(pixels), encoder.encode_texts(texts), pairs_ND):
        assert rows.dtype == np.float32
        assert rows.shape[1] == encoder.dim
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    alone = [encoder.encode_pairs([images], [text])[0][0] for images, text in zip(asked, [*texts, EDIT], strict=True)]
    np.testing.assert_allclose(pairs_ND, alone, atol=2e-5)
    np.testing.assert_allclose(encoder.encode_pixels(pixels[:1]), encoder.encode_pixels(pixels)[:1], atol=2e-5)
    nothing = encoder.encode_pixels([]), encoder.encode_tokens([]), encoder.encode_pairs([], [])[0]
    assert [rows.shape for rows in nothing] == [(0, encoder.dim)] * 3


@pytest.mark.parametrize("family", ["qwen3_vl", "clip"])
def test_a_text_too_long_is_cut_and_told(
    family: str, loaded: Callable[[str], PairEncoder], pictures: list[Image.Image]
) -> None:
    encoder = loaded(family)
    short, long = encoder.tokenize([EDIT, "red " * 5_000])
    assert (short.truncated, long.truncated) == (False, True)
    assert 0 < len(long.tokens) < 4 * 5_000
    vectors = encoder.encode_texts(["red " * 5_000, "red " * 6_000])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=2e-5)
    pixels = [encoder.preprocess(each) for each in pictures]
    rows, truncated = encoder.encode_pairs([pixels, pixels], ["red " * 5_000, EDIT])
    assert truncated == [True, False]
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("family", [*PROMPTS, "clip"])
def test_the_path_of_a_file_is_not_opened(family: str, loaded: Callable[[str], PairEncoder], tmp_path: Path) -> None:
    encoder, file = loaded(family), tmp_path / "a.png"
    nowhere = encoder.encode_texts([str(file)]), encoder.encode_pairs([[]], [str(file)])[0]
    Image.new("RGB", (64, 64)).save(file)
    there = encoder.encode_texts([str(file)]), encoder.encode_pairs([[]], [str(file)])[0]
    np.testing.assert_array_equal(nowhere, there)


def test_a_special_token_in_a_text_is_text(
    folders: Callable[[str], Path], loaded: Callable[[str], PairEncoder]
) -> None:
    """A place for a picture is none: the neighbours of such a text are answered as ever."""
    encoder, folder = loaded("qwen3_vl"), folders("qwen3_vl")
    rows = encoder.encode_texts(["<|image_pad|><|im_end|>", EDIT])
    plain = by_hand(folder, written("qwen3_vl", INSTRUCTION, 0, "< |image_pad|>< |im_end|>"))
    np.testing.assert_allclose(rows[0], plain, atol=2e-5)
    np.testing.assert_allclose(rows[1], encoder.encode_texts([EDIT])[0], atol=2e-5)


def test_the_first_dimensions_of_a_matryoshka_model(
    folders: Callable[[str], Path], loaded: Callable[[str], PairEncoder], pictures: list[Image.Image]
) -> None:
    whole, short = loaded("qwen3_vl"), load_encoder(f"st:local-dir:{folders('qwen3_vl')}?dim=16")
    assert (whole.dim, short.dim) == (64, 16)
    assert short.id.endswith("-16d")
    expected = normalize(torch.from_numpy(whole.encode_images(pictures)[:, :16]), dim=-1)
    np.testing.assert_allclose(short.encode_images(pictures), expected.numpy(), atol=2e-5)


def test_the_id_follows_weights_and_prompts_not_the_folder(
    folders: Callable[[str], Path], loaded: Callable[[str], PairEncoder], tmp_path: Path
) -> None:
    copy = shutil.copytree(folders("qwen3_vl"), tmp_path / "copy")
    assert load_encoder(f"st:local-dir:{copy}").id == loaded("qwen3_vl").id
    edit_json(copy / "config_sentence_transformers.json", prompts={"query": "Find it.", "document": ""})
    prompted = load_encoder(f"st:local-dir:{copy}").id
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text().replace(INSTRUCTION, "Embed this."))
    templated = load_encoder(f"st:local-dir:{copy}").id
    edit_json(copy / "1_Pooling" / "config.json", pooling_mode="mean")
    assert len({loaded("qwen3_vl").id, prompted, templated, load_encoder(f"st:local-dir:{copy}").id}) == 4


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def lacks_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    lost = next(key for key in weights if key.endswith("layers.1.mlp.up_proj.weight"))
    save_file(
        {key: value for key, value in weights.items() if key != lost}, folder / "model.safetensors", {"format": "pt"}
    )


def runs_code(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "custom_st.MultiModalTransformer"
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "modules.json").unlink(), "it has no modules.json"),
        (lacks_weights, "incomplete: its weights lack .*layers.1.mlp.up_proj.weight and 0 others"),
        (runs_code, "executes third-party code"),
        (lambda folder: edit_json(folder / "tokenizer_config.json", model_max_length=24), "reads 24 tokens, too few"),
        (
            lambda folder: edit_json(
                folder / "sentence_bert_config.json",
                modality_config={"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            ),
            "embeds text, not both pictures and texts",
        ),
    ],
)
def test_a_folder_that_is_no_embedder_is_refused(
    damage: Callable[[Path], None], said: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    damage(copy := shutil.copytree(folders("qwen3_vl"), tmp_path / "copy"))
    with pytest.raises(InvalidInput, match=said) as caught:
        load_encoder(f"st:local-dir:{copy}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("st:local-dir:nowhere", "there is no folder nowhere"),
        ("st:", "neither st:ORG/REPO nor st:local-dir:PATH"),
        ("st:local-dir:{}?dim=0", "has 64 dimensions: .* not 0"),
        ("st:local-dir:{}?dim=65", "has 64 dimensions: .* not 65"),
        ("st:local-dir:{}?dim=half", "needs a whole number"),
    ],
)
def test_a_name_that_is_none_is_refused(name: str, said: str, folders: Callable[[str], Path]) -> None:
    with pytest.raises(InvalidInput, match=said):
        load_encoder(name.format(folders("qwen3_vl")))


def test_more_pictures_than_fit_are_refused(loaded: Callable[[str], PairEncoder], pictures: list[Image.Image]) -> None:
    encoder = loaded("qwen3_vl")
    with pytest.raises(InvalidInput, match="too few for so many pictures"):
        encoder.encode_pairs([[encoder.preprocess(pictures[0])] * 200], [EDIT])


@pytest.mark.parametrize("family", [*PROMPTS, "clip"])
def test_half_precision_has_the_same_id_and_nearly_the_same_vectors(
    family: str, folders: Callable[[str], Path], loaded: Callable[[str], PairEncoder], pictures: list[Image.Image]
) -> None:
    whole, half = loaded(family), load_encoder(f"st:local-dir:{folders(family)}", dtype="bfloat16")
    assert half.id == whole.id
    assert isinstance(half, PairEncoder)
    pixels = [[whole.preprocess(each)] for each in pictures]
    rows = [encoder.encode_pairs(pixels, [EDIT] * len(pixels))[0] for encoder in (whole, half)]
    assert rows[1].dtype == np.float32
    assert (rows[0] * rows[1]).sum(axis=1).min() > 0.98
