"""The table of families: what it says of each, and that every method and head reaches each of them."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, DistilBertConfig

from models.methods import METHODS
from models.networks.bilstm import BilstmConfig
from models.networks.encoder import Encoder
from models.networks.families import FAMILIES as KNOWN
from models.networks.families import EncoderError
from models.networks.heads import HEAD_TRAINING
from models.networks.loading import AUTO_CLASSES, check_base
from models.robust import IMPLEMENTATIONS, read_settings
from models.tasks import TASKS
from models.tasks.task import Head
from tests.models.passes import FAMILIES, make_batch, make_build_context, make_config, make_context, make_encoder, total
from tests.tiny import METHOD_SETTINGS
from tests.tiny_families import make_family_tokenizer

DOCUMENTED = Path(__file__).parents[3] / "docs" / "encoders.md"
STEPS = [name for name in METHODS if name not in ("cline", "ssa-co", "ssa-hybrid")]
"""Methods whose step needs a batch alone; the others draw from texts."""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", STEPS)
def test_every_method_gives_every_parameter_it_trains_a_gradient(family: str, method: str) -> None:
    encoder = make_encoder(family)
    built = IMPLEMENTATIONS[method].build(read_settings(method, {}), make_build_context(encoder))
    result = built.step(make_batch(), make_context(encoder, step=5))
    loss = total(result)
    assert math.isfinite(float(loss))
    layers = {id(layer): layer for layer in encoder.layers}.values()
    weights = [weight for layer in layers for weight in layer.parameters() if weight.ndim > 1]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    assert all(one is not None and one.isfinite().all() for one in found)
    assert any(one is not None and one.abs().sum() > 0 for one in found)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["cline", "ssa-co", "ssa-hybrid"])
def test_methods_that_draw_from_texts_are_built_for_every_family(family: str, method: str) -> None:
    encoder = make_encoder(family)
    settings = read_settings(method, METHOD_SETTINGS.get(method, {}))
    built = IMPLEMENTATIONS[method].build(settings, make_build_context(encoder))
    served = built.served(encoder)
    assert served(make_batch()).logits.shape == (3, 3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", HEAD_TRAINING)
def test_every_family_has_every_head(family: str, head: Head) -> None:
    torch.manual_seed(0)
    config = make_config(family, labels=2 if head == "question-answering" else 3)
    encoder = Encoder(AUTO_CLASSES[head].from_config(config, attn_implementation="eager"))
    batch = make_batch()
    passed = encoder(batch, keep=[0, 1, 2])
    assert passed.states.shape == (3, 7, 16)
    assert {tuple(kept.probabilities.shape) for kept in passed.kept.values()} == {(3, 2, 7, 7)}
    assert passed.logits.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_what_a_bilstm_cannot_be_trained_by_is_refused_by_name(method: str) -> None:
    if method == "plain" or method.startswith(("attention", "word")):
        check_base("here", BilstmConfig(), "sequence-classification", method)
        return
    with pytest.raises(EncoderError, match=f"here: a BiLSTM, which method {method} cannot train.*: choose plain"):
        check_base("here", BilstmConfig(), "sequence-classification", method)


def test_the_documentation_lists_the_families_their_heads_methods_and_layouts() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \|[^|]*\|([^|]*)\|([^|]*)\|[^|]*\|[^|]*\|([^|]*)\|$", DOCUMENTED.read_text(), re.MULTILINE
    )
    assert [name for name, *_ in rows] == list(KNOWN)
    for name, tasks, methods, layout in rows:
        assert layout.strip() == ("sequence first" if KNOWN[name].like_bert else "as traced")
        config = BilstmConfig() if name == BilstmConfig.model_type else make_config(name)
        allowed = {task for task in TASKS if _reaches(config, TASKS[task].head, "plain")}
        assert tasks.strip() == ("all" if allowed == set(TASKS) else ", ".join(sorted(allowed)))
        reached = {one for one in METHODS if _reaches(config, "sequence-classification", one)}
        wanted = "all" if reached == set(METHODS) else "`plain`, `attention-*`, `word-*`"
        assert methods.strip() == wanted


def test_the_documentation_names_the_tokenizers_of_the_families() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|(?:[^|]*\|){4}([^|]*)\|[^|]*\|$", DOCUMENTED.read_text(), re.MULTILINE)
    named = {"WordPiece": "WordPiece", "BPE": "bytes", "Unigram": "SentencePiece"}
    for name, documented in rows:
        if name == BilstmConfig.model_type:
            assert documented.strip() == "words"
        else:
            kind = type(make_family_tokenizer(name).backend_tokenizer.model).__name__
            assert documented.strip() == named[kind]
    assert len(rows) == len(KNOWN)


def _reaches(config: object, head: Head, method: str) -> bool:
    try:
        check_base("here", config, head, method)
    except EncoderError:
        return False
    return True


def test_a_bert_in_distilberts_layout_gives_the_same_logits() -> None:
    """Every weight has its place, attention and position included; BERT's first segment is part of the positions."""
    bert = make_bert_for_tokens()
    distilled = in_distilberts_layout(bert)
    batch = make_batch()
    bias = torch.randn(3, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    for biases in ({}, {1: lambda *_: bias}):
        first, second = (Encoder(model)(batch, keep=[2], score_bias=biases) for model in (bert, distilled))
        torch.testing.assert_close(first.logits[batch.mask], second.logits[batch.mask], rtol=1e-5, atol=1e-5)
        found, expected = (one.kept[2].probabilities for one in (second, first))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def make_bert_for_tokens() -> Any:
    torch.manual_seed(0)
    config = make_config("bert", layer_norm_eps=1e-12)
    return AutoModelForTokenClassification.from_config(config, attn_implementation="eager").eval()


def in_distilberts_layout(bert: Any) -> Any:
    """A DistilBERT with the weights of a BERT for tokens, which reads everything as the first segment."""
    config = bert.config
    distilled = AutoModelForTokenClassification.from_config(
        DistilBertConfig(
            vocab_size=config.vocab_size,
            dim=config.hidden_size,
            n_layers=config.num_hidden_layers,
            n_heads=config.num_attention_heads,
            hidden_dim=config.intermediate_size,
            max_position_embeddings=config.max_position_embeddings,
            num_labels=config.num_labels,
        ),
        attn_implementation="eager",
    ).eval()
    weights = bert.state_dict()
    segment = weights.pop("bert.embeddings.token_type_embeddings.weight")[0]
    weights["bert.embeddings.position_embeddings.weight"] = (
        weights["bert.embeddings.position_embeddings.weight"] + segment
    )
    distilled.load_state_dict({_renamed(name): weight for name, weight in weights.items()})
    return distilled


def _renamed(name: str) -> str:
    for ours, theirs in DISTILBERTS_NAMES.items():
        name = name.replace(ours, theirs)
    return name


DISTILBERTS_NAMES = {
    "bert.": "distilbert.",
    ".encoder.layer.": ".transformer.layer.",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    ".output.dense": ".ffn.lin2",
    ".output.LayerNorm": ".output_layer_norm",
}
