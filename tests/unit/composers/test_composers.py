from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from scot.baselines import BASELINES
from scot.composers import baseline, fitted_baseline
from scot.composers.architectures import ARCHITECTURES, build
from scot.composers.combiner import Combiner, CombinerConfig
from scot.composers.film import FilmBlock, FilmConfig
from scot.errors import InvalidInput
from tests.support.composer_inputs import some_settings, some_states

X, Y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])


def rows(count: int = 6, dim: int = 8, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("name", [*BASELINES, "sum:0.7", "slerp:0", "slerp:1"])
def test_baselines_give_unit_rows_and_keep_their_name(name: str) -> None:
    composer = baseline(name)
    query_BD = composer.compose(rows(seed=1).half().float(), rows(seed=2))
    assert query_BD.dtype == torch.float32
    torch.testing.assert_close(query_BD.norm(dim=-1), torch.ones(6))
    assert composer.name == name
    assert composer.encoder_id is None


def test_the_weight_is_the_share_of_the_text() -> None:
    torch.testing.assert_close(baseline("sum:0.75").compose(X, Y), normalize(torch.tensor([[0.25, 0.75]]), dim=-1))
    third = math.pi / 6
    torch.testing.assert_close(
        baseline(f"slerp:{1 / 3}").compose(X, Y), torch.tensor([[math.cos(third), math.sin(third)]])
    )


def test_only_one_side_counts_in_the_single_baselines() -> None:
    torch.testing.assert_close(baseline("image_only").compose(X, Y), X)
    torch.testing.assert_close(baseline("text_only").compose(X, Y), Y)


@pytest.mark.parametrize("text", [X, -X])
def test_slerp_is_finite_where_the_great_circle_is_not_defined(text: torch.Tensor) -> None:
    assert baseline("slerp:0.3").compose(X, text).isfinite().all()


@pytest.mark.parametrize(
    ("name", "says"),
    [("mean", "no baseline"), ("sum:x", "not a number"), ("sum:1.5", "from 0 to 1"), ("sum:nan", "from 0 to 1"),
     ("text_only:0.5", "takes no weight"), ("sum:", "not a number")],
)  # fmt: skip
def test_an_unknown_baseline_is_refused(name: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        baseline(name)


def test_the_centred_sum_takes_the_means_of_its_pool_out() -> None:
    image_ND, text_MD = normalize(rows(64) + 2.0, dim=-1), normalize(rows(32, seed=3) - 1.0, dim=-1)
    composer = fitted_baseline("centred_sum:0.75", image_ND, text_MD)
    image_BD = normalize(image_ND[:6] - image_ND.mean(0), dim=-1)
    text_BD = normalize(text_MD[:6] - text_MD.mean(0), dim=-1)
    expected = normalize(0.75 * text_BD + 0.25 * image_BD, dim=-1)
    torch.testing.assert_close(composer.compose(image_ND[:6], text_MD[:6]), expected)
    assert (composer.name, composer.encoder_id) == ("centred_sum:0.75", None)
    assert fitted_baseline("centred_sum", image_ND, text_MD).name == "centred_sum"


@pytest.mark.parametrize(
    ("name", "says"), [("sum", "no baseline 'sum'; the baselines are centred_sum"), ("centred_sum:x", "not a number"),
    ("centred_sum:2", "text in centred_sum must be from 0 to 1")],
)  # fmt: skip
def test_a_baseline_that_cannot_be_fitted_is_refused(name: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        fitted_baseline(name, rows(), rows())
    with pytest.raises(InvalidInput, match="no baseline 'centred_sum'"):
        baseline("centred_sum")


def test_the_combiner_is_the_equation() -> None:
    torch.manual_seed(0)
    module = Combiner(CombinerConfig(dim=8, centre=False)).eval()
    image_BD, text_BD = rows(seed=1), rows(seed=2)
    joint = torch.cat(
        [torch.relu(module.project_image[0](image_BD)), torch.relu(module.project_text[0](text_BD))], dim=-1
    )
    gate = torch.sigmoid(module.gate[3](torch.relu(module.gate[0](joint))))
    expected = module.mix[3](torch.relu(module.mix[0](joint))) + gate * text_BD + (1 - gate) * image_BD
    torch.testing.assert_close(module(image_BD, text_BD), normalize(expected, dim=-1))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_takes_the_modality_means_out(name: str) -> None:
    torch.manual_seed(0)
    module, states = build(name, some_settings(name)).eval(), some_states(name, 64)
    image_ND, text_ND = normalize(rows(64) + 2.0, dim=-1), normalize(rows(64, seed=3) - 1.0, dim=-1)
    module.fit_statistics(image_ND, text_ND)
    torch.testing.assert_close(module.get_buffer("image_mean_D"), image_ND.mean(0))
    torch.testing.assert_close(module.get_buffer("text_mean_D"), text_ND.mean(0))
    plain = build(name, {**some_settings(name), "centre": False}).eval()
    plain.load_state_dict({**module.state_dict()})
    centred = normalize(image_ND - image_ND.mean(0), dim=-1), normalize(text_ND - text_ND.mean(0), dim=-1)
    torch.testing.assert_close(module(image_ND, text_ND, *states), plain(*centred, *states))


@pytest.mark.parametrize("name", ["transformer", "film"])
def test_the_residual_architectures_start_as_the_centred_sum(name: str) -> None:
    image_ND, text_ND = normalize(rows(64) + 2.0, dim=-1), normalize(rows(64, seed=3) - 1.0, dim=-1)
    module = build(name, {"dim": 8}).eval()
    module.fit_statistics(image_ND, text_ND)
    expected = fitted_baseline("centred_sum", image_ND, text_ND).compose(image_ND, text_ND)
    torch.testing.assert_close(module(image_ND, text_ND), expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_parameter_learns_from_the_second_step_on(name: str) -> None:
    torch.manual_seed(0)
    module, states = build(name, {**some_settings(name), "dropout": 0.0}), some_states(name, 6)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (1.0 - (module(rows(seed=1), rows(seed=2), *states) * rows(seed=3)).sum(-1)).mean().backward()
        optimiser.step()
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_a_film_block_is_the_equation() -> None:
    torch.manual_seed(0)
    block = FilmBlock(FilmConfig(dim=8), hidden=16).eval()
    state_BD, edit_BH = rows(seed=1), torch.randn(6, 16)
    torch.testing.assert_close(block(state_BD, edit_BH), state_BD)
    torch.nn.init.normal_(block.modulate.weight)
    torch.nn.init.normal_(block.modulate.bias)
    gain_BD, shift_BD, amount_BD = (edit_BH @ block.modulate.weight.T + block.modulate.bias).split(8, dim=-1)
    normed_BD = (state_BD - state_BD.mean(-1, keepdim=True)) / (state_BD.var(-1, False, keepdim=True) + 1e-5).sqrt()
    inner_BD = block.mlp[3](torch.nn.functional.gelu(block.mlp[0]((1 + gain_BD) * normed_BD + shift_BD)))
    torch.testing.assert_close(block(state_BD, edit_BH), state_BD + amount_BD * inner_BD)


def test_the_transformer_tells_reference_from_edit() -> None:
    torch.manual_seed(0)
    module = build("transformer", {"dim": 8, "centre": False, "width": 12, "heads": 3, "depth": 1}).eval()
    torch.nn.init.normal_(module.get_parameter("mix.weight"))
    image_BD, text_BD = rows(seed=1), rows(seed=2)
    assert not torch.allclose(module(image_BD, text_BD), module(text_BD, image_BD), atol=1e-2)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(
    "settings", [{"dim": 0}, {"dim": 8, "dropout": 1.0}, {"dim": 8, "hidden": -1}, {"dim": 8, "x": 1}, {}]
)
def test_settings_that_cannot_be_are_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        build(name, (some_settings(name) if settings else {}) | settings)


def test_the_width_of_a_transformer_is_shared_by_its_heads() -> None:
    with pytest.raises(InvalidInput, match="the width 8 of a transformer must be a multiple of its 3 heads"):
        build("transformer", {"dim": 8, "heads": 3})
    with pytest.raises(InvalidInput, match="depth must be at least 1"):
        build("transformer", {"dim": 8, "depth": 0})


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="'perceiver'; known: combiner"):
        build("perceiver", {"dim": 8})


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_builds_and_gives_unit_rows(name: str) -> None:
    query_BD = build(name, some_settings(name)).eval()(rows(seed=1), rows(seed=2), *some_states(name, 6))
    torch.testing.assert_close(query_BD.norm(dim=-1), torch.ones(6))
