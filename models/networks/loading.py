"""Models, configurations and tokenizers read from a folder or a hub, and checkpoints opened as they answer.

A checkpoint answers by its stock model, or by that model and what its training method leaves on it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from models.checkpoint import METHOD_FILE, read_record
from models.correction.reading import open_correction
from models.errors import shorten
from models.evaluation import EvaluatedModel
from models.hub import give_up_at_first_failure
from models.methods import find_method
from models.networks.batches import torch_runner
from models.networks.encoder import Encoder
from models.networks.families import EncoderError, find_family
from models.networks.gate import serve_gated
from models.tasks import find_task
from models.tasks.task import ONE_VECTOR, Head
from models.text import Reader, ReadingLimits

AUTO_CLASSES: dict[Head, Any] = {
    "sequence-classification": AutoModelForSequenceClassification,
    "multi-label-classification": AutoModelForSequenceClassification,
    "token-classification": AutoModelForTokenClassification,
    "multiple-choice": AutoModelForMultipleChoice,
    "question-answering": AutoModelForQuestionAnswering,
    "masked-language-model": AutoModelForMaskedLM,
}
"""The transformers class that loads a model with each head."""

ONE_FILE = "1TB"
"""The largest file of weights, as transformers takes it: a checkpoint has one file, whatever its size."""

PROBLEM_TYPES: dict[Head, str] = {"multi-label-classification": "multi_label_classification"}
"""The kind of a head's numbers as a configuration names it, where transformers' class does not say it."""

ACTIVATION_ENTRIES = ("sentence_transformers", "sbert_ce_default_activation_function")
"""Entries by which a cross-encoder's configuration names the function that its score passes through."""

BY_ROW = ("attention-", "word-")
"""Beginnings of the names of methods that can train a BiLSTM, beside plain."""

Serve = Callable[[Mapping[str, Any], Any, PreTrainedTokenizerFast, Mapping[str, Tensor]], nn.Module]
"""A method's settings, a checkpoint's stock model, its tokenizer and the method's weights -> the model that answers.

It is called as the stock model is.
"""

SERVED_FORMS: dict[str, Serve] = {"ssa-hybrid": serve_gated}
"""The training methods whose checkpoints answer by more than the stock model, and how."""


def open_trained_model(folder: Path) -> EvaluatedModel:
    """The checkpoint in `folder`, to be measured under torch.

    Raises:
        CheckpointError, EncoderError: the folder is no checkpoint, or a damaged one.
    """
    record = read_record(folder)
    task = find_task(record.task)
    tokenizer = load_tokenizer(folder)
    encoder = Encoder(load_served(folder, task.head)).to(measuring_device())
    return EvaluatedModel(
        task=task,
        outputs=record.outputs,
        reader=Reader(
            tokenizer.backend_tokenizer,
            ReadingLimits(max_tokens=record.max_tokens),
            open_correction(folder, record.correction, task.corrected),
        ),
        run=torch_runner(encoder, task.head, tokenizer),
    )


def load_served(checkpoint: Path, head: Head) -> Any:
    """The model by which a checkpoint answers, in eager attention, for evaluation; it is called as a stock model is.

    Raises:
        CheckpointError: the folder is no checkpoint.
        UnknownMethod: it was trained by a method that this version does not have.
        EncoderError: it lacks weights of the model, has others, or is damaged.
    """
    model = load_trained(checkpoint, head)
    method = read_record(checkpoint).method
    # A method that is not known here may serve in a form that is not known here either.
    serve = SERVED_FORMS.get(find_method(method.name).name)
    if serve is None:
        return model
    path = checkpoint / METHOD_FILE
    try:
        weights = load_file(path)
        served = serve(method.settings, model, load_tokenizer(checkpoint), weights)
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise EncoderError(
            f"{path}: missing, damaged or not what method {method.name} answers with ({reason}); "
            "train the checkpoint again, or copy it whole"
        ) from error
    return served.eval()


def load_stock(base: str | Path, head: Head) -> Any:
    """The model of a checkpoint from elsewhere with its own head, in eager attention, for evaluation.

    Weights that the head has no use for, such as a pooler beside a head that labels tokens, are left out.

    Raises:
        EncoderError: nothing there, a family that is not known here, another head, or weights that are damaged.
    """
    check_trained_head(base, load_config(base), head)
    model, found = load_weights(base, head)
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        raise EncoderError(f"{base}: {len(missing)} weights are missing, {missing[0]} among them; copy it whole")
    return model.eval()


def check_trained_head(base: str | Path, config: Any, head: Head) -> None:
    """Refuse a checkpoint whose configuration names another head, or an unknown family; raises EncoderError."""
    check_base(base, config, head)
    wanted = AUTO_CLASSES[head].__name__.removeprefix("AutoModel")
    others = [name for name in config.architectures or () if not name.endswith(wanted)]
    if others:
        raise EncoderError(
            f"{base}: a {others[0]}, and this task needs a trained head {wanted}; choose the task that it was trained "
            "for, or train it with `steadfast train --base`"
        )


def load_encoder(base: str | Path, head: Head, labels: tuple[str, ...]) -> Encoder:
    """The model in a folder or on a hub; if its head does not fit, a new one is drawn from torch's generator.

    A head fits if its tensors have the names and sizes wanted, whatever task it was trained for.

    Raises:
        EncoderError: nothing there, a family that cannot be trained, or weights that are damaged or missing.
    """
    # Masked words have no labels, so the configuration stays the base's.
    config = load_config(base, **({} if head == "masked-language-model" else name_labels(labels)))
    check_base(base, config, head)
    # What the base did to its numbers is not done to the trained head's, and would have others read them by a sigmoid.
    config.problem_type = PROBLEM_TYPES.get(head)
    for name in ACTIVATION_ENTRIES:
        vars(config).pop(name, None)
    # A head of another size belongs to another task. An encoder of another size contradicts the configuration.
    model, found = load_weights(base, head, config=config, ignore_mismatched_sizes=True)
    inside = f"{model.base_model_prefix}."
    misshapen = sorted(name for name in found["mismatched_keys"] if name.startswith(inside))
    if misshapen:
        raise EncoderError(f"{base}: weights that do not fit its configuration, {misshapen[0]} among them")
    # The head, and the pooler that belongs to it, may be new. Missing weights elsewhere would be random numbers.
    holes = sorted(
        name for name in found["missing_keys"] if name.startswith(inside) and not name.startswith(f"{inside}pooler.")
    )
    if holes:
        raise EncoderError(f"{base}: {len(holes)} of the encoder's weights are missing, {holes[0]} among them")
    return Encoder(model)


def check_base(base: str | Path, config: Any, head: Head, method: str = "plain") -> None:
    """Refuse a base of this configuration that cannot be trained with this head or by this method.

    Raises:
        EncoderError: with what is accepted.
    """
    try:
        family = find_family(config)
    except EncoderError as error:
        raise EncoderError(f"{base}: {error}") from None
    if family.self_attends:
        return
    if head not in ONE_VECTOR:
        raise EncoderError(
            f"{base}: a BiLSTM, which cannot have the head {head}; it gives one answer for all of a text: choose "
            "another base"
        )
    if not (method == "plain" or method.startswith(BY_ROW)):
        raise EncoderError(
            f"{base}: a BiLSTM, which method {method} cannot train, since it has one row of attention and no mask "
            "token: choose plain, an attention or a word method, or another base"
        )


def measuring_device() -> torch.device:
    """The device on which models are measured: the accelerator, if there is one."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def load_config(base: str | Path, **changed: Any) -> Any:
    """The transformers configuration in a folder or on a hub; raises EncoderError."""
    give_up_at_first_failure()
    if Path(base).is_dir() and not (Path(base) / "config.json").is_file():
        # transformers lists all its families here, or guesses one by the name of the folder.
        raise EncoderError(f"{base}: no model folder, since it has no config.json")
    try:
        return AutoConfig.from_pretrained(str(base), **changed)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise EncoderError(f"{base}: neither a model folder here nor one that could be fetched ({reason})") from error


def name_labels(labels: tuple[str, ...]) -> dict[str, Any]:
    """The entries of a transformers configuration that name a head's labels."""
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def load_trained(checkpoint: str | Path, head: Head) -> Any:
    """The stock transformers model of a checkpoint, in eager attention and evaluation mode.

    Raises:
        EncoderError: the folder lacks weights of the model, has others, or is damaged.
    """
    model, found = load_weights(checkpoint, head)
    wrong = sorted({*found["missing_keys"], *found["unexpected_keys"], *map(str, found["mismatched_keys"])})
    if wrong:
        raise EncoderError(
            f"{checkpoint}: {len(wrong)} weights are missing or not the model's, {wrong[0]} among them; "
            "train it again, or copy it whole"
        )
    return model.eval()


def load_weights(folder: str | Path, head: Head, **given: Any) -> tuple[Any, dict[str, Any]]:
    """A stock model with whatever weights it has there, and transformers' lists of those missing and of further ones.

    Missing weights are drawn from torch's generator. `given` goes on to transformers.

    Raises:
        EncoderError: nothing there, or weights that are damaged or of other sizes.
    """
    try:
        model, found = AUTO_CLASSES[head].from_pretrained(
            str(folder), attn_implementation="eager", dtype=torch.float32, output_loading_info=True, **given
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        # transformers lists weights of another shape on lines of their own.
        reason = " ".join(str(error).split())
        raise EncoderError(f"{folder}: weights that do not fit, are damaged or are not there ({reason})") from error
    return model, found


def load_tokenizer(base: str | Path) -> PreTrainedTokenizerFast:
    """The base model's tokenizer; raises EncoderError."""
    give_up_at_first_failure()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise EncoderError(f"{base}: no tokenizer here, nor one that could be fetched ({reason})") from error
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise EncoderError(
            f"{base}: its tokenizer needs a library that is not installed ({shorten(reason)}); choose a base whose "
            "tokenizer has a fast form (tokenizer.json)"
        ) from error
    except Exception as error:
        # Where the files are missing, transformers fails by a path that is None, in each family otherwise; at a damaged
        # file the library tokenizers raises this class itself.
        raise EncoderError(
            f"{base}: its tokenizer is not there or not whole; copy tokenizer.json and tokenizer_config.json to it"
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise EncoderError(f"{base}: its tokenizer has no fast form (tokenizer.json), which offsets need")
    return tokenizer


def check_tokenizer(tokenizer: PreTrainedTokenizerFast, config: Any, base: str | Path) -> None:
    """Refuse a tokenizer that cannot belong to the model of a configuration; raises EncoderError."""
    most = max(tokenizer.get_vocab().values(), default=-1)
    if most >= config.vocab_size:
        raise EncoderError(
            f"{base}: its tokenizer has tokens up to {most}, and its model embeddings for {config.vocab_size}; they do "
            "not belong together, so copy both from one place"
        )
    if tokenizer.pad_token_id is None:
        raise EncoderError(
            f"{base}: its tokenizer has no padding token, which batches need; set pad_token in tokenizer_config.json "
            "to the one that the model was trained with"
        )
    # A BiLSTM of ours reads texts without special tokens around them. A tokenizer without a token for what it does not
    # know may leave nothing of the letter.
    if find_family(config).self_attends and 1 not in tokenizer.backend_tokenizer.encode("a").special_tokens_mask[:1]:
        raise EncoderError(
            f"{base}: its tokenizer puts no special token before texts, at which the model reads its answer; use the "
            "tokenizer that the model was trained with"
        )
