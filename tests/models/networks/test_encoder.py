"""The hook into a transformers model."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification, XLNetConfig, XLNetForSequenceClassification

from models.networks.encoder import Encoder, EncoderError
from models.networks.families import reads_segments
from models.networks.loading import load_encoder, load_tokenizer, load_trained
from tests.models.passes import FAMILIES, make_batch, make_config, make_encoder
from tests.tiny import make_base


def _stock_logits(encoder: Encoder) -> Tensor:
    batch = make_batch()
    segments = {"token_type_ids": batch.type_ids} if reads_segments(encoder.model.config) else {}
    logits: Tensor = encoder.model(
        input_ids=batch.ids, attention_mask=batch.mask.long(), output_attentions=True, **segments
    ).logits
    return logits


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_the_whole_pass(family: str) -> None:
    encoder = make_encoder(family)
    assert torch.equal(encoder.states(make_batch()), encoder(make_batch()).states)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_hook_the_model_is_the_stock_model(family: str) -> None:
    encoder = make_encoder(family)
    assert torch.equal(encoder(make_batch()).logits, _stock_logits(encoder))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_zero_bias_changes_nothing(family: str) -> None:
    encoder = make_encoder(family)
    biased = encoder(make_batch(), score_bias={0: lambda *_: torch.zeros(3, 1, 1, 1)})
    assert torch.equal(biased.logits, encoder(make_batch()).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bias_moves_attention_in_its_layer_as_a_softmax_says(family: str) -> None:
    encoder, batch = make_encoder(family), make_batch()
    bias = torch.randn(3, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    before = encoder(batch, keep=[1]).kept[1].probabilities.double().detach().numpy()
    after = encoder(batch, keep=[1], score_bias={1: lambda *_: bias}).kept[1].probabilities.detach().numpy()
    for row, length in enumerate((7, 4, 1)):
        for head, query in np.ndindex(2, length):
            # Logarithms of probabilities are scores up to a constant, and minus infinity where nothing is seen.
            seen = before[row, head, query] > 0
            moved = np.exp(np.log(before[row, head, query, seen]) + bias[row, head, query].double().numpy()[seen])
            np.testing.assert_allclose(
                after[row, head, query, seen], moved / moved.sum(), atol=2e-6
            )  # float32 rounding
            assert (after[row, head, query, ~seen] == 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_no_bias_can_unmask_padding(family: str) -> None:
    encoder, batch = make_encoder(family), make_batch()
    passed = encoder(batch, keep=[0], score_bias={0: lambda *_: torch.full((3, 1, 7, 7), 1e6)})
    # A padding token of DeBERTa sees nothing else, but no real token sees it.
    of_real = batch.mask[:, None, :, None] & ~batch.mask[:, None, None, :]
    assert (passed.kept[0].probabilities.masked_select(of_real) == 0).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", [1, 2])
def test_starting_half_way_gives_what_the_whole_pass_gives(family: str, layer: int) -> None:
    encoder, batch = make_encoder(family), make_batch()
    whole = encoder(batch, keep=[layer])
    rest = encoder(batch, start_layer=layer, hidden=whole.kept[layer].entering)
    assert torch.equal(rest.logits, whole.logits)
    assert len(encoder.layers) == 3


def test_the_bias_gets_a_gradient() -> None:
    encoder, batch = make_encoder(), make_batch()
    bias = torch.zeros(3, 1, 7, 7, requires_grad=True)
    encoder(batch, score_bias={2: lambda *_: bias}).logits.sum().backward()
    assert bias.grad is not None
    assert bias.grad.abs().sum() > 0


def test_hooks_are_gone_after_the_pass_even_when_it_fails() -> None:
    encoder, batch = make_encoder(), make_batch()
    before = encoder(batch).logits

    def broken(*_: Tensor) -> Tensor:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        encoder(batch, start_layer=1, hidden=encoder(batch, keep=[1]).kept[1].entering, score_bias={1: broken})
    assert torch.equal(encoder(batch).logits, before)


def test_probabilities_are_those_before_dropout() -> None:
    encoder, batch = make_encoder(dropout=0.5), make_batch()
    kept = encoder(batch, keep=[0]).kept[0].probabilities
    torch.testing.assert_close(kept.sum(-1), torch.ones(3, 2, 7))


def test_a_layer_outside_the_pass_is_refused() -> None:
    encoder, batch = make_encoder(), make_batch()
    with pytest.raises(ValueError, match="no layer 3 in this pass; it runs layers 0 to 2"):
        encoder(batch, keep=[3])
    with pytest.raises(ValueError, match="start_layer 1 needs hidden"):
        encoder(batch, start_layer=1)


def test_a_family_whose_attention_cannot_be_hooked_is_refused() -> None:
    model = XLNetForSequenceClassification(XLNetConfig(vocab_size=9, d_model=8, n_head=1, d_inner=8, n_layer=1))
    with pytest.raises(EncoderError, match=r"family 'xlnet'; .* bert, distilbert, .*: choose a base of one of them"):
        Encoder(model)


def test_a_deberta_with_a_convolution_is_refused() -> None:
    config = make_config("deberta-v2")
    config.conv_kernel_size = 3
    with pytest.raises(EncoderError, match=r"family 'deberta-v2' with a convolution .* choose another"):
        Encoder(AutoModelForSequenceClassification.from_config(config))


def test_loading_takes_a_folder_and_names_the_labels(base: Path) -> None:
    encoder = load_encoder(base, "sequence-classification", ("no", "yes"))
    assert encoder.model.config.id2label == {0: "no", 1: "yes"}
    assert load_tokenizer(base).pad_token_id == 0


def test_a_base_that_is_nowhere_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="neither a model folder here nor one that could be fetched"):
        load_encoder(tmp_path / "nothing", "sequence-classification", ("no", "yes"))


def test_a_folder_without_a_model_is_a_short_error(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"no model folder, since it has no config\.json$"):
        load_encoder(tmp_path, "sequence-classification", ("no", "yes"))


def test_a_model_without_its_tokenizer_is_a_clear_error(tmp_path: Path) -> None:
    make_config("bert").save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="its tokenizer is not there or not whole; copy"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", [None, "", "{", "{}"])
def test_a_tokenizer_that_is_damaged_or_missing_beside_its_settings_is_a_clear_error(
    tmp_path: Path, content: str | None
) -> None:
    base = make_base(tmp_path / "base")
    (base / "tokenizer.json").unlink()
    if content is not None:
        (base / "tokenizer.json").write_text(content)
    with pytest.raises(EncoderError, match=f"^{base}: its tokenizer is not there or not whole; copy"):
        load_tokenizer(base)


def test_a_tokenizer_that_needs_a_library_which_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    content = json.loads((base / "tokenizer_config.json").read_text())
    # It has no fast form, so its tokenizer.json is of no use.
    (base / "tokenizer_config.json").write_text(json.dumps(content | {"tokenizer_class": "MarianTokenizer"}))
    with pytest.raises(
        EncoderError, match=f"^{base}: its tokenizer needs a library .*SentencePiece.*fast form"
    ) as refused:
        load_tokenizer(base)
    assert "\n" not in str(refused.value)


def test_a_base_with_a_hole_in_its_encoder_is_refused_by_the_weights_name(base: Path, tmp_path: Path) -> None:
    folder = _without(base, tmp_path, "bert.encoder.layer.1.output.dense.weight")
    with pytest.raises(EncoderError, match=r"1 of the encoder's weights are missing, bert\.encoder\.layer\.1\.output"):
        load_encoder(folder, "sequence-classification", ("no", "yes"))


def test_a_damaged_base_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(EncoderError, match="damaged"):
        load_encoder(folder, "sequence-classification", ("no", "yes"))


def test_a_base_with_another_tasks_head_gets_a_new_one_and_keeps_its_encoder(base: Path, tmp_path: Path) -> None:
    trained = load_encoder(base, "sequence-classification", ("no", "yes"))
    trained.model.classifier.weight.data.fill_(9.0)
    trained.model.save_pretrained(tmp_path / "trained")
    encoder = load_encoder(tmp_path / "trained", "sequence-classification", ("a", "b", "c"))
    assert encoder.model.classifier.weight.shape[0] == 3
    assert encoder.model.classifier.weight.abs().max() < 1
    again = encoder.model.base_model.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in trained.model.base_model.state_dict().items())


def test_a_base_with_a_head_of_the_same_size_keeps_it(base: Path, tmp_path: Path) -> None:
    trained = load_encoder(base, "sequence-classification", ("no", "yes"))
    trained.model.save_pretrained(tmp_path / "trained")
    again = load_encoder(tmp_path / "trained", "sequence-classification", ("a", "b"))
    assert torch.equal(again.model.classifier.weight, trained.model.classifier.weight)


def test_a_base_whose_encoder_does_not_fit_its_configuration_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": config["intermediate_size"] + 2}))
    with pytest.raises(EncoderError, match=r"do not fit its configuration, bert\.encoder\.layer\.0"):
        load_encoder(folder, "sequence-classification", ("no", "yes"))


def test_a_checkpoint_without_its_head_is_refused_by_the_weights_name(base: Path, tmp_path: Path) -> None:
    load_encoder(base, "sequence-classification", ("no", "yes")).model.save_pretrained(tmp_path / "whole")
    folder = _without(tmp_path / "whole", tmp_path, "classifier.weight")
    with pytest.raises(EncoderError, match=r"1 weights are missing .* classifier\.weight"):
        load_trained(folder, "sequence-classification")


def test_roberta_has_fewer_positions_than_its_table() -> None:
    encoder = make_encoder("roberta")
    assert encoder.max_tokens == 40 - 1
    longest = make_batch((encoder.max_tokens,))
    assert encoder(longest).logits.shape == (1, 3)
    with pytest.raises(IndexError):
        encoder(make_batch((encoder.max_tokens + 1,)))


def _without(source: Path, tmp_path: Path, weight: str) -> Path:
    folder = tmp_path / "holed"
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    del weights[weight]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_head_reads_last_gives_its_logits(family: str) -> None:
    encoder = make_encoder(family)
    passed = encoder(make_batch())
    last = [module for module in encoder.model.modules() if isinstance(module, torch.nn.Linear)][-1]
    assert passed.pooled is not None
    torch.testing.assert_close(last(passed.pooled), passed.logits)  # dropout is off in these models


@pytest.mark.parametrize("family", FAMILIES)
def test_word_noise_is_added_to_the_word_vectors(family: str) -> None:
    encoder, batch = make_encoder(family), make_batch()
    words = encoder.model.base_model.get_input_embeddings()
    other = torch.where(batch.mask, 49 - batch.ids % 7, batch.ids)
    noise = words(other) - words(batch.ids)
    swapped = encoder(replace(batch, ids=other)).logits
    torch.testing.assert_close(encoder(batch, word_noise=noise).logits, swapped)  # float32 rounding only
