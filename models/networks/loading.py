"""A checkpoint as it answers: the stock model, or with what its training method leaves on it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from models.checkpoint import METHOD_FILE, read_record
from models.evaluation import EvaluatedModel
from models.networks.batches import torch_runner
from models.networks.encoder import Encoder, EncoderError, load_tokenizer, load_trained, measuring_device
from models.networks.gate import serve_gated
from models.tasks import find_task
from models.tasks.task import Head
from models.text import Reader, ReadingLimits

Serve = Callable[[Mapping[str, Any], Any, PreTrainedTokenizerFast, Mapping[str, Tensor]], nn.Module]
"""A method's settings, a checkpoint's stock model, its tokenizer and the method's weights -> the model that answers,
called as the stock model is."""

SERVED_FORMS: dict[str, Serve] = {"ssa-hybrid": serve_gated}
"""By training method, how its checkpoints answer; the others' answer by the stock model alone."""


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
        reader=Reader(tokenizer.backend_tokenizer, ReadingLimits(max_tokens=record.max_tokens)),
        run=torch_runner(encoder, task.head, tokenizer),
    )


def load_served(checkpoint: Path, head: Head) -> Any:
    """The model of a checkpoint as it answers, in eager attention and ready to evaluate; called as a stock model is.

    Raises:
        CheckpointError: the folder is no checkpoint.
        EncoderError: it lacks weights of the model, has others, or is damaged.
    """
    model = load_trained(checkpoint, head)
    method = read_record(checkpoint).method
    serve = SERVED_FORMS.get(method.name)
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
