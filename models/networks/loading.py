"""A checkpoint as it answers: the stock model, or with what its training method leaves on it."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from models.checkpoint import METHOD_FILE, read_record
from models.evaluation import EvaluatedModel
from models.networks.batches import torch_runner
from models.networks.encoder import Encoder, EncoderError, load_tokenizer, load_trained, measuring_device
from models.robust import find_method, read_settings
from models.tasks import find_task
from models.tasks.task import Head
from models.text import Reader, ReadingLimits


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
    serve = find_method(method.name).serve
    if serve is None:
        return model
    path = checkpoint / METHOD_FILE
    try:
        weights = load_file(path)
        served = serve(read_settings(method.name, method.settings), model, load_tokenizer(checkpoint), weights)
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise EncoderError(
            f"{path}: missing, damaged or not what method {method.name} answers with ({reason}); "
            "train the checkpoint again, or copy it whole"
        ) from error
    return served.eval()
