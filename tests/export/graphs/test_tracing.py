"""The fp32 graph and what its explanation outputs mean."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from export.gates.parity import check_parity
from export.graphs.finishing import write_graph
from export.graphs.tracing import read_row, read_tensors, roll_out
from export.probes import rows_of_many_lengths
from export.session import OUTPUTS, Session
from models.networks.loading import load_trained
from models.tasks import find_task
from models.text import Reader, ReadingLimits
from tests.tiny import make_tokenizer

TINY = {
    "vocab_size": 128, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 64, "initializer_range": 0.2,
}  # fmt: skip


def _attention(layers: int, batch: int, heads: int, length: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(layers * length)
    return [torch.randn(batch, heads, length, length, generator=draw).softmax(-1) for _ in range(layers)]


def _beside_the_batch(layers: list[torch.Tensor]) -> list[torch.Tensor]:
    """Heads beside the batch, as encoders are traced."""
    return [layer.flatten(0, 1) for layer in layers]


def _rollout_by_definition(layers: list[torch.Tensor]) -> npt.NDArray[np.float64]:
    """Abnar & Zuidema 2020, by whole matrices."""
    batch, _, length, _ = layers[0].shape
    product = np.broadcast_to(np.eye(length), (batch, length, length))
    for probabilities in layers:
        mean = probabilities.double().numpy().mean(axis=1)
        product = (0.5 * mean + 0.5 * np.eye(length)) @ product
    return product[:, 0]


@pytest.mark.parametrize(("layers", "length"), [(1, 1), (1, 5), (2, 1), (2, 2), (6, 17), (12, 64)])
def test_rollout_is_the_read_row_of_the_product_of_half_attention_half_identity(layers: int, length: int) -> None:
    attention = _attention(layers, 3, 4, length)
    # float32 against float64
    found = roll_out(_beside_the_batch(attention), heads=4).numpy()
    np.testing.assert_allclose(found, _rollout_by_definition(attention), atol=1e-6)


def test_rollout_needs_of_the_last_layer_only_its_read_row() -> None:
    attention = _beside_the_batch(_attention(3, 2, 2, 7))
    whole = roll_out(attention, heads=2)
    attention[-1] = attention[-1][:, :1]
    torch.testing.assert_close(roll_out(attention, heads=2), whole)


def test_attention_is_the_last_layers_read_row_averaged_over_heads() -> None:
    (probabilities,) = _attention(1, 2, 3, 5)
    (beside,) = _beside_the_batch([probabilities])
    found = read_row(beside, heads=3)
    np.testing.assert_allclose(found, probabilities.numpy()[:, :, 0].mean(axis=1), atol=1e-7)


def test_the_graph_explains_as_eager_attention_does(graph: Path, checkpoint: Path, reader: Reader) -> None:
    model = load_trained(checkpoint, "sequence-classification")
    row = reader.read("the plot was dull and the film was poor").rows[0]
    with torch.inference_mode():
        layers = model(input_ids=torch.tensor([row.ids]), output_attentions=True).attentions
    (found,) = Session(graph, pad_id=0).run([row], OUTPUTS)
    np.testing.assert_allclose(found["attention"], layers[-1][0, :, 0].mean(dim=0), atol=1e-6)
    np.testing.assert_allclose(found["rollout"], _rollout_by_definition(list(layers))[0], atol=1e-6)


def test_padding_gets_exactly_no_attention_and_no_rollout(graph: Path, reader: Reader) -> None:
    rows = [reader.read("good").rows[0], reader.read("a very lovely story , and it was great !").rows[0]]
    padded = Session(graph, pad_id=0).run_padded(rows, ("attention", "rollout"))
    assert not padded["attention"][0, len(rows[0]) :].any()
    assert not padded["rollout"][0, len(rows[0]) :].any()


def test_the_graph_names_its_inputs_and_outputs_with_free_batch_and_sequence(graph: Path) -> None:
    inputs, outputs = read_tensors(graph)
    assert [(tensor.name, tensor.dtype, tensor.axes) for tensor in inputs] == [
        *((name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask", "token_type_ids")),
        ("target", "float32", ("explained", "2")),
        ("explain", "bool", ("3",)),
    ]
    assert [(tensor.name, tensor.dtype, tensor.axes) for tensor in outputs] == [
        ("logits", "float32", ("batch", "2")),
        ("attention", "float32", ("batch", "sequence")),
        ("rollout", "float32", ("batch", "sequence")),
        ("decomposition", "float32", ("batch", "sequence")),
    ]


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (BertForSequenceClassification, BertConfig(**TINY)),
        (ElectraForSequenceClassification, ElectraConfig(**TINY, embedding_size=8)),
        # RoBERTa has one segment only, so its graph takes no token types, and counts positions from the padding id.
        (RobertaForSequenceClassification, RobertaConfig(**TINY, type_vocab_size=1, pad_token_id=0)),
    ],
)
def test_every_family_that_can_be_trained_gives_a_graph_that_agrees_with_torch(
    kind: type[PreTrainedModel], config: PretrainedConfig, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config._attn_implementation = "eager"
    model = kind(config).eval()
    write_graph(model, "sequence-classification", tmp_path / "graph.onnx")
    reader = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=32))
    rows = rows_of_many_lengths(find_task("sentiment"), reader)
    report = check_parity(model, "sequence-classification", tmp_path / "graph.onnx", rows, 0)
    assert max(report.largest_difference.values()) <= report.tolerance


def test_writing_the_graph_leaves_the_model_as_it_was(checkpoint: Path, tmp_path: Path) -> None:
    model = load_trained(checkpoint, "sequence-classification")
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    with torch.inference_mode():
        before = model(input_ids=ids, output_attentions=True)
        write_graph(model, "sequence-classification", tmp_path / "graph.onnx")
        after = model(input_ids=ids, output_attentions=True)
    assert torch.equal(before.logits, after.logits)
    assert after.attentions[-1].shape == (1, 2, 5, 5)
