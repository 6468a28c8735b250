"""The model that a checkpoint answers with: the stock one, or with what its training method leaves on it."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from models.checkpoint import METHOD_FILE, read_record
from models.encoder import EncoderError, load_tokenizer, load_trained
from models.robust import find_method, read_settings
from models.tasks.task import Head


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
