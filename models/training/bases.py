"""The base of a training: the model in a folder or on a hub, or a BiLSTM made for the training data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedTokenizerFast

from models.checkpoint import DataFile, HeadRecord
from models.data import read_texts
from models.networks.bilstm import BilstmConfig, BilstmForSequenceClassification
from models.networks.encoder import Encoder
from models.networks.hooks import last_linear
from models.networks.loading import (
    check_base,
    check_tokenizer,
    load_config,
    load_encoder,
    load_tokenizer,
    load_trained,
    name_labels,
)
from models.networks.vocabulary import make_tokenizer, read_vectors
from models.tasks import find_task
from models.tasks.labels.matching import find_label
from models.tasks.task import AnyTask
from models.training.base_head import keep_known_labels
from models.training.settings import BILSTM, BilstmSettings, TrainingError, TrainingSettings

Vectors = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Base:
    """A tokenizer, which is needed to read the data, and a way to make the encoder once they are read."""

    tokenizer: PreTrainedTokenizerFast
    make_encoder: Callable[[], tuple[Encoder, HeadRecord | None]]
    """Draws new weights from torch's generator, and says what became of the base's head, if it had one with labels.

    Raises EncoderError or TrainingError if the base cannot be used.
    """
    files: tuple[DataFile, ...] = ()
    """Files that the base was made from, beside the training data."""


def open_base(settings: TrainingSettings, task: AnyTask) -> Base:
    """The base that the settings name.

    Raises:
        EncoderError: the base has no tokenizer or one of another model, or is of a family that the head or the method
            cannot train.
        DataError, VectorsError: the training texts, or the file of word vectors, cannot be read.
    """
    if settings.base == BILSTM:
        check_base(BILSTM, BilstmConfig(), task.head, settings.method)
        return _make_bilstm(settings, task)
    tokenizer = load_tokenizer(settings.base)
    config = load_config(settings.base)
    check_base(settings.base, config, task.head, settings.method)
    check_tokenizer(tokenizer, config, settings.base)
    return Base(tokenizer=tokenizer, make_encoder=lambda: _load(settings, task))


def _load(settings: TrainingSettings, task: AnyTask) -> tuple[Encoder, HeadRecord | None]:
    encoder = load_encoder(settings.base, task.head, settings.outputs.labels)
    config = encoder.model.config
    if isinstance(config, BilstmConfig) and config.reads_pairs != _reads_pairs(task):
        read = "pairs of texts" if config.reads_pairs else "single texts"
        raise TrainingError(
            f"{settings.base}: a BiLSTM for {read}, which {task.name} has not; start from base {BILSTM!r}"
        )
    if task.head == "multiple-choice":
        _score_by_entailment(encoder, settings.base)
    return encoder, keep_known_labels(encoder, settings.base, task, settings.outputs.labels)


def _score_by_entailment(encoder: Encoder, base: str) -> None:
    """If the base is an NLI model, score choices from the start as it does: by entailment less contradiction.

    NLI asks whether a context entails a question with one of its answers (Trivedi et al., NAACL 2019). This needs heads
    that both read the pooler's output, as BERT's do. Other bases keep the head that was loaded or drawn.
    """
    config = load_config(base)
    known_as = find_task("nli").known_as
    labels = {find_label(known_as, str(name)): number for number, name in config.id2label.items()}
    judges = "BertForSequenceClassification" in (config.architectures or ())
    if not judges or not {"entailment", "contradiction"} <= labels.keys():
        return
    old, new = last_linear(load_trained(base, "sequence-classification")), last_linear(encoder.model)
    with torch.no_grad():
        for ours, theirs in ((new.weight, old.weight), (new.bias, old.bias)):
            ours.copy_((theirs[labels["entailment"]] - theirs[labels["contradiction"]])[None])


def _make_bilstm(settings: TrainingSettings, task: AnyTask) -> Base:
    given = settings.bilstm or BilstmSettings()
    tokenizer = make_tokenizer(read_texts(settings.source, task, settings.rows), given.min_documents)
    vectors: Vectors = {}
    files: tuple[DataFile, ...] = ()
    if given.vectors is not None:
        path = Path(given.vectors)
        vectors, digest = read_vectors(path, tokenizer.get_vocab(), given.word_width)
        files = (DataFile(part="vectors", name=path.name, sha256=digest, rows=len(vectors)),)
    config = BilstmConfig(
        vocab_size=len(tokenizer),
        word_width=given.word_width,
        state_width=given.state_width,
        reads_pairs=_reads_pairs(task),
        **name_labels(settings.outputs.labels),
    )
    return Base(tokenizer=tokenizer, make_encoder=lambda: (_draw(config, tokenizer, vectors), None), files=files)


def _draw(config: BilstmConfig, tokenizer: PreTrainedTokenizerFast, vectors: Vectors) -> Encoder:
    model = BilstmForSequenceClassification(config)
    numbers = tokenizer.get_vocab()
    with torch.no_grad():
        for word, vector in vectors.items():
            model.bilstm.embeddings.word_embeddings.weight[numbers[word]] = torch.from_numpy(vector)
    return Encoder(model)


def _reads_pairs(task: AnyTask) -> bool:
    return len(task.columns) > 1
