"""The decomposition by its definition: vectors for each token and for the biases, carried forward through a model.

Matrix products in float64, one row at a time, without hooks and without gradients; DecompX as its paper has it, but for
the biases, whose vectors stay apart.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

Sources = Tensor
"""[tokens + 1, ...]: the part of a state that each token brings, and last the part that biases bring."""


def carry(linear: nn.Linear, parts: Sources) -> Sources:
    """Through a linear map, whose bias joins the biases."""
    return join(parts @ linear.weight.T, linear.bias)


def join(parts: Sources, bias: Tensor | None) -> Sources:
    if bias is None:
        return parts
    return torch.cat([parts[:-1], parts[-1:] + bias])


def normalise(norm: nn.LayerNorm, parts: Sources) -> Sources:
    """Through LayerNorm, with the deviation of the sum."""
    deviation = (parts.sum(0).var(-1, unbiased=False) + norm.eps).sqrt()
    centred = parts - parts.mean(-1, keepdim=True)
    return join(centred / deviation[..., None] * norm.weight, norm.bias)


def bend(activation: Callable[[Tensor], Tensor], parts: Sources) -> Sources:
    """Through an activation, each part by the ratio at the sum."""
    total = parts.sum(0)
    return parts * (activation(total) / total)


def embed(embeddings: Tensor) -> Sources:
    """Each token's own embedding at its place, [tokens + 1, tokens, width]."""
    tokens, width = embeddings.shape
    parts = torch.zeros(tokens + 1, tokens, width, dtype=torch.float64)
    parts[range(tokens), range(tokens)] = embeddings
    return parts


def attend(layer: Any, parts: Sources, heads: int) -> Sources:
    """Through one layer's attention, up to the sum with its input."""
    total = parts.sum(0)
    attention = layer.attention.self
    queries, keys = attention.query(total), attention.key(total)
    values = carry(attention.value, parts)
    size = queries.shape[-1] // heads
    mixed = []
    for head in range(heads):
        of_head = slice(head * size, (head + 1) * size)
        scores = queries[:, of_head] @ keys[:, of_head].T / size**0.5
        mixed.append(scores.softmax(-1) @ values[..., of_head])
    return carry(layer.attention.output.dense, torch.cat(mixed, -1)) + parts


def encode(base: Any, ids: Tensor, types: Tensor) -> Sources:
    """Through the embeddings and the layers of a BERT, RoBERTa or ELECTRA."""
    config, tables = base.config, base.embeddings
    first = config.pad_token_id + 1 if config.model_type == "roberta" else 0
    places = torch.arange(first, first + len(ids))
    words, positions, segments = (
        tables.word_embeddings.weight[ids],
        tables.position_embeddings.weight[places],
        tables.token_type_embeddings.weight[types],
    )
    parts = normalise(tables.LayerNorm, embed(words + positions + segments))
    if hasattr(base, "embeddings_project"):
        parts = carry(base.embeddings_project, parts)
    for layer in base.encoder.layer:
        parts = normalise(layer.attention.output.LayerNorm, attend(layer, parts, config.num_attention_heads))
        inner = bend(ACT2FN[config.hidden_act], carry(layer.intermediate.dense, parts))
        parts = normalise(layer.output.LayerNorm, carry(layer.output.dense, inner) + parts)
    return parts


def pool(model: Any, head: str, parts: Sources) -> Sources:
    """The input of the head's last linear map: of every token, or of the first through the head's dense layer."""
    if head in ("token-classification", "question-answering"):
        return parts
    base, start = model.base_model, parts[:, 0]
    if getattr(base, "pooler", None) is not None:
        return bend(torch.tanh, carry(base.pooler.dense, start))
    if head == "multiple-choice":
        return bend(torch.nn.functional.gelu, carry(model.sequence_summary.summary, start))
    activation = torch.tanh if base.config.model_type == "roberta" else torch.nn.functional.gelu
    return bend(activation, carry(model.classifier.dense, start))


def propagate(model: Any, head: str, ids: Tensor, types: Tensor) -> Sources:
    """The part of a stock model's logits that each token of one row brings, and last the biases' part."""
    with torch.no_grad():
        last = model.qa_outputs if head == "question-answering" else model.classifier
        return carry(getattr(last, "out_proj", last), pool(model, head, encode(model.base_model, ids, types)))


def propagate_modernbert(model: Any, head: str, ids: Tensor) -> Sources:
    """The same for a ModernBERT, whose gates pass on what they multiply by constant weights."""
    with torch.no_grad():
        base = model.base_model
        parts = normalise(base.embeddings.norm, embed(base.embeddings.tok_embeddings.weight[ids]))
        for number, layer in enumerate(base.layers):
            entering = normalise(layer.attn_norm, parts) if number else parts
            parts = carry(layer.attn.Wo, _attend_nearby(layer.attn, entering, number, base.config)) + parts
            opened, passing = carry(layer.mlp.Wi, normalise(layer.mlp_norm, parts)).chunk(2, -1)
            gate = torch.nn.functional.gelu(opened.sum(0))
            parts = carry(layer.mlp.Wo, gate * passing) + parts
        parts = normalise(base.final_norm, parts)
        if head in ("sequence-classification", "multiple-choice"):
            parts = parts[:, 0] if base.config.classifier_pooling == "cls" else parts.mean(1)
        inner = bend(torch.nn.functional.gelu, carry(model.head.dense, parts))
        return carry(model.classifier, normalise(model.head.norm, inner))


def _attend_nearby(attention: Any, parts: Sources, number: int, config: Any) -> Sources:
    """Through a ModernBERT layer's attention, over tokens nearby in all but every nth layer, up to its last map."""
    is_global = number % config.global_attn_every_n_layers == 0
    tokens, size = parts.shape[1], config.hidden_size // config.num_attention_heads
    queries, keys, values = carry(attention.Wqkv, parts).chunk(3, -1)
    theta = config.global_rope_theta if is_global else config.local_rope_theta
    places = torch.arange(tokens, dtype=torch.float64)
    angles = places[:, None] * theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    is_near = (places[:, None] - places[None, :]).abs() <= (tokens if is_global else config.local_attention // 2)
    mixed = []
    for head in range(config.num_attention_heads):
        of_head = slice(head * size, (head + 1) * size)
        turned = [
            torch.complex(*each.sum(0)[:, of_head].chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)
            for each in (queries, keys)
        ]
        scores = (turned[0] @ turned[1].conj().T).real / size**0.5
        mixed.append(scores.masked_fill(~is_near, -torch.inf).softmax(-1) @ values[..., of_head])
    return torch.cat(mixed, -1)


def run_lstm(lstm: nn.LSTM, words: Sources) -> Sources:
    """Through both directions of an LSTM over one text."""
    return torch.cat([_run_direction(lstm, words, backwards=back) for back in (False, True)], -1)


def _run_direction(lstm: nn.LSTM, words: Sources, *, backwards: bool) -> Sources:
    suffix = "_l0_reverse" if backwards else "_l0"
    w, u, b, c = (getattr(lstm, name + suffix).chunk(4) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    length = words.shape[1]
    state = cell = torch.zeros(len(words), lstm.hidden_size, dtype=torch.float64)
    states = torch.zeros(len(words), length, lstm.hidden_size, dtype=torch.float64)
    for t in reversed(range(length)) if backwards else range(length):
        word, before = words[:, t], state
        i, f, o = (torch.sigmoid(w[n] @ word.sum(0) + b[n] + u[n] @ before.sum(0) + c[n]) for n in (0, 1, 3))
        candidate = bend(torch.tanh, join(word @ w[2].T + before @ u[2].T, b[2] + c[2]))
        cell = f * cell + i * candidate
        state = o * bend(torch.tanh, cell)
        states[:, t] = state
    return states


def propagate_bilstm(model: Any, ids: Tensor, types: Tensor) -> Sources:
    """The same for the BiLSTM; in a pair, the first text's tokens come first."""
    with torch.no_grad():
        words = embed(model.bilstm.embeddings.word_embeddings.weight[ids])
        first = int((types == 0).sum())
        states = run_lstm(model.bilstm.embeddings.lstm, words[:, :first])
        attention, head = model.bilstm.encoder.layer[0].attention["self"], model.classifier
        inner = attention.state(states.sum(0))
        if first == len(ids):
            weights = attention.score(torch.tanh(inner))[:, 0].softmax(0)
            return carry(head.output, (weights[:, None] * states).sum(1))
        others = run_lstm(model.bilstm.embeddings.other_lstm, words[:, first:])
        half = others.shape[-1] // 2
        ends = torch.cat([others[:, -1, :half], others[:, 0, half:]], -1)
        weights = attention.score(torch.tanh(inner + attention.other(ends.sum(0))))[:, 0].softmax(0)
        context = (weights[:, None] * states).sum(1)
        return carry(head.output, bend(torch.tanh, carry(head.context, context) + carry(head.other, ends)))
