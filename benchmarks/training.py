"""The cost of a training step under each method, relative to plain, on one thread.

The shape is one at which the authors' ASA code was measured too: 4 layers, width 384, 128 tokens, batch 16.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from models.data import Example
from models.networks.alignment import pad_places
from models.networks.batches import collate
from models.networks.encoder import Encoder
from models.networks.heads import HEAD_TRAINING
from models.networks.loading import load_tokenizer
from models.robust import IMPLEMENTATIONS, read_settings
from models.robust.method import BuildContext, StepContext
from models.robust.noisy_step import NoiseStrength, Version, noisy_losses
from models.synonyms.wordnet import WordNetError
from models.text import Reader, ReadingLimits

ROUNDS = 3
SHAPE = "4 layers, width 384, 128 tokens, batch 16, fp32, one thread"
TEXT = " ".join(["The new film tells an old story slowly, and few people who saw it were ever truly happy."] * 8)
TOKENIZER = Path(__file__).parents[1] / "zoo" / "sentiment"

AUTHORS_CODE = {"asa": 2.07}
"""The ratio measured at this shape with the authors' own code, for methods that have such code."""

COUNTED = {
    "asa": 2.1,
    "attention-at": 1.33,
    "attention-iat": 1.33,
    "afa": 1.67,
    "ssa-co": 1.0,
    "ssa-hybrid": 1.0,
    "cline": 3.0,
}
"""Costs predicted by counting passes: a forward pass is 1, a backward pass 2, a plain step 3, and a layer a quarter.

ASA has two forwards and their backward, and its adversaries (6.3). Attention AT has the last layer's pass again, with
its backward, and its gradient's (4). AFA has two forwards more without gradient (5), CLINE three texts for one (9). SSA
adds a token classifier; its search for words to mask, between epochs, is no part of a step.
"""


NOISE = {
    "one copy": (1, 0.0, 2.0),
    "moved words": (0, 0.05, 2.0),
    "one copy, moved words": (1, 0.05, 3.0),
    "the worst of 4, moved words": (4, 0.05, 4.33),
}
"""Noise beside plain training: copies, length by which words are moved, and the cost predicted by counting passes.

The copy that is learnt from, and the moved words, cost a forward pass and its backward; choosing the worst of several
costs a forward pass for each. Copies are made in other processes, whose time is not counted here.
"""


def measure_steps() -> dict[str, float]:
    """The CPU time of a step of each method relative to plain: the median over rounds in which methods take turns."""
    steps = {}
    for name in IMPLEMENTATIONS:
        # CLINE needs a WordNet, which not every machine has.
        with suppress(WordNetError):
            steps[name] = _make_step(name)
    return _compare(steps)


def measure_noise() -> dict[str, float]:
    """The CPU time of a step of plain training with each noise, relative to the step without any."""
    steps = {"plain": _make_step("plain")}
    steps |= {name: _make_step("plain", copies, length) for name, (copies, length, _) in NOISE.items()}
    return _compare(steps)


def _compare(steps: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    torch.set_num_threads(1)
    ratios: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(ROUNDS):
        seconds = {name: _cpu_seconds(step) for name, step in steps.items()}
        for name, value in seconds.items():
            ratios[name].append(value / seconds["plain"])
    return {name: statistics.median(values) for name, values in ratios.items()}


def report() -> Iterator[str]:
    """The lines to print."""
    yield f"training step, CPU time relative to plain ({SHAPE})"
    for name, ratio in measure_steps().items():
        counted = f"   by counting passes {COUNTED[name]:.2f}" if name in COUNTED else ""
        theirs = f"   authors' code {AUTHORS_CODE[name]:.2f}" if name in AUTHORS_CODE else ""
        yield f"  {name:<15}{ratio:6.2f}{counted}{theirs}"
    yield f"plain training step with noise, CPU time relative to the step without ({SHAPE})"
    for name, ratio in measure_noise().items():
        if name in NOISE:
            yield f"  {name:<29}{ratio:6.2f}   by counting passes {NOISE[name][2]:.2f}"


def _make_step(method_name: str, copies: int = 0, word_noise: float = 0.0) -> Callable[[], None]:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=4, num_attention_heads=12, intermediate_size=1536
    )  # fmt: skip
    encoder = Encoder(AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")).train()
    build_context = BuildContext(
        encoder=encoder,
        head="sequence-classification",
        tokenizer=load_tokenizer(TOKENIZER),
        seed=0,
        example_count=16,
        max_tokens=128,
        epochs=3,
        score_range=None,
    )
    method = IMPLEMENTATIONS[method_name].build(read_settings(method_name, {}), build_context)
    parameters = [*encoder.parameters(), *method.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    reader = Reader(build_context.tokenizer.backend_tokenizer, ReadingLimits(max_tokens=128))
    examples = [Example(reader.read(TEXT, truncation="right"), number % 2) for number in range(16)]
    batch = collate(examples, range(16), "sequence-classification", 0, torch.device("cpu"))
    version = Version(batch=batch, places=pad_places([[]] * 16, 0, torch.device("cpu")))
    strength = NoiseStrength(word_noise=word_noise, consistency=1.0)
    # Half-way through training no method is warming up any more.
    context = StepContext(
        encoder=encoder,
        task_loss=HEAD_TRAINING["sequence-classification"].loss,
        seed=0,
        step=0,
        share_done=0.5,
    )
    method.before_epoch(examples, 1, context)

    def step() -> None:
        for part in noisy_losses(method, context, "sequence-classification", strength, version, [version] * copies):
            losses = part.losses.values()
            torch.stack([loss.weight * loss.value for loss in losses]).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def _cpu_seconds(step: Callable[[], None]) -> float:
    before = time.process_time()
    for _ in range(2):
        step()
    return time.process_time() - before
