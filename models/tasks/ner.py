"""Named entities: the words of a text that name something, and the kind of thing they name.

A word takes the label of its first token. Labels are BIO: `B-` begins an entity and `I-` goes on with one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from models.correction.reading import CorrectedWords
from models.correction.rewriting import Change, rewrite
from models.entity_tags import OUTSIDE, as_bio
from models.tasks.classification import read_label
from models.tasks.goals import Goal, Move, Standing
from models.tasks.robustness import Robustness
from models.tasks.task import (
    AnswerPart,
    Claim,
    Item,
    Judgement,
    Logits,
    Outputs,
    Prediction,
    Targets,
    Task,
    TaskAnswer,
    TextItem,
    aim_each,
    contrast,
    headline,
    parse_list,
    softmax,
)
from models.tasks.texts.entity_words import split_for_tagging
from models.tasks.texts.probe_texts import TEXTS_WITH_NAMES
from models.tasks.token_positions import first_tokens
from models.text import Encoded, Reader, Truncation
from models.words import Span, line_up


class NerExample(Item):
    """A text as annotated data hold it, split into words."""

    tokens: tuple[str, ...] = Field(min_length=1)

    def as_request(self) -> TextItem:
        """The words joined by spaces, as one text."""
        return TextItem(id=self.id, text=" ".join(self.tokens))

    def as_values(self, texts: Mapping[str, str], move: Move) -> dict[str, Any]:
        """As many words as before: each has what became of it in the changed text."""
        text, start, tokens = texts["text"], 0, []
        for token in self.tokens:
            tokens.append(text[slice(*move("text", Span(start, start + len(token))))])
            start += len(token) + 1
        return {"tokens": tokens}


class Entity(BaseModel):
    """Words that name something."""

    model_config = ConfigDict(frozen=True)

    label: str
    text: str = Field(description="Always `text[start:end]` of the item.")
    start: int = Field(description="In the request's `offset_unit`.")
    end: int
    score: float = Field(ge=0, le=1, description="Mean probability of its words' labels.")


class NerAnswer(TaskAnswer):
    """The entities of a text, in reading order; they never overlap."""

    entities: tuple[Entity, ...]

    def moved(self, move: Callable[[str, Sequence[Span]], Sequence[Span]]) -> Self:
        """The same entities with their offsets in another unit."""
        spans = move("text", [Span(entity.start, entity.end) for entity in self.entities])
        moved = (
            entity.model_copy(update={"start": span.start, "end": span.end})
            for entity, span in zip(self.entities, spans, strict=True)
        )
        return self.model_copy(update={"entities": tuple(moved)})

    def judgements(self) -> tuple[Judgement, ...]:
        """The kind of each entity."""
        return tuple(Judgement(entity.label, entity.score) for entity in self.entities)

    def headlines(self) -> tuple[str, ...]:
        """One line for each entity, or a remark that there is none."""
        return tuple(map(headline, self.entities)) or ("no entities",)

    def part_names(self) -> tuple[str, ...]:
        """The kind of each entity."""
        return tuple(entity.label for entity in self.entities)

    def places(self) -> tuple[tuple[str, Span], ...]:
        """The words of each entity."""
        return tuple(("text", Span(entity.start, entity.end)) for entity in self.entities)


def encode(item: TextItem | NerExample, reader: Reader, truncation: Truncation) -> Encoded:
    """Make the rows of one text, with its words: those that are read, where they were written."""
    if isinstance(item, TextItem):
        encoded = reader.read(item.text, truncation=truncation)
        return replace(encoded, words=tuple(_split_as_read(item.text, encoded.corrections.get("text", ()))))
    encoded = reader.read(" ".join(item.tokens), field="tokens", truncation=truncation)
    return replace(encoded, words=tuple(line_up(item.tokens)))


def _split_as_read(text: str, corrections: Sequence[Change]) -> Iterator[Span]:
    """The words of a written text, parted as those that are read: an unseen sign parts none, and is part of none alone.

    Signs that are read as several, such as the `...` of one, are parted as they are written.
    """
    read = rewrite(text, (change for change in corrections if not change.to or _are_letters(text, change)))
    end = 0
    for word in map(read.written, split_for_tagging(read.text)):
        # One letter may be read as several words, as in Japanese.
        if word.start >= end:
            yield word
            end = word.end


def _are_letters(text: str, change: Change) -> bool:
    return change.to.isalpha() and any(map(str.isalpha, text[slice(*change.span)]))


def decode(logits: Sequence[Logits], encoded: Encoded, outputs: Outputs) -> Prediction[NerAnswer]:
    """Find the entities among the words; a word's label is read where it is farthest from the ends of a window.

    A word is outside of entities where `O` is its likeliest label, with a probability of `outputs.outside_threshold` at
    least.

    Every word gets one label however many windows hold it, so no entity is lost or found twice where windows meet.
    Signs without a word beside them are no entity.
    """
    text = next(iter(encoded.texts.values()))
    probabilities = [softmax(row) for row in logits]
    labels = [OUTSIDE] * len(encoded.words)
    scores = [0.0] * len(encoded.words)
    places = first_tokens(encoded)
    for word, (row, position) in places.items():
        best = _choose(probabilities[row][position], outputs)
        labels[word], scores[word] = outputs.labels[best], float(probabilities[row][position][best])
    entities, parts = [], []
    for words, kind in list(find_entities(labels)):
        span = Span(encoded.words[words[0]].start, encoded.words[words[-1]].end)
        if not any(map(str.isalnum, text[slice(*span)])):
            labels[words.start : words.stop] = [OUTSIDE] * len(words)
            continue
        score = sum(scores[word] for word in words) / len(words)
        entities.append(Entity(label=kind, text=text[slice(*span)], start=span.start, end=span.end, score=score))
        row, position = places[words[0]]
        target = contrast(outputs.labels.index(labels[words[0]]), len(outputs.labels), position)
        parts.append(AnswerPart(kind, rows=(row,), target=target, read_at=position))
    return Prediction(NerAnswer(entities=tuple(entities)), outcome=tuple(labels), parts=tuple(parts))


def _choose(probabilities: Logits, outputs: Outputs) -> int:
    """The number of a word's label: the likeliest, or the likeliest within an entity where `O` is not sure enough."""
    best, outside = int(probabilities.argmax()), outputs.labels.index(OUTSIDE)
    if best != outside or probabilities[outside] >= outputs.outside_threshold:
        return best
    inside = probabilities.copy()
    inside[outside] = -1
    return int(inside.argmax())


def claims(prediction: Prediction[NerAnswer], encoded: Encoded, outputs: Outputs) -> tuple[Claim, ...]:
    """Claim each entity, supported by the probability of its first word's label at that word.

    The entity's own words are never taken out, so that its context is tested.
    """
    (field,) = encoded.texts
    labels = prediction.outcome
    return tuple(
        Claim(
            partial(_support_label, words[0], outputs.labels.index(labels[words[0]])),
            ((field, Span(encoded.words[words[0]].start, encoded.words[words[-1]].end)),),
        )
        for words, _ in find_entities(labels)
    )


def is_entity_lost(before: NerAnswer, after: NerAnswer) -> bool:
    """Whether an entity is lost, cut, extended or of another kind; one that is found besides changes nothing.

    An entity is found again by its kind and text. If its text was edited, it is found by its kind, its number of words
    and overlapping offsets, which edits before it move a little.
    """
    left = iter(after.entities)
    return not all(any(_is_again(entity, other) for other in left) for entity in before.entities)


def _is_again(entity: Entity, other: Entity) -> bool:
    overlaps = entity.start < other.end and other.start < entity.end
    same_words = len(entity.text.split()) == len(other.text.split())
    return entity.label == other.label and (entity.text == other.text or (overlaps and same_words))


def _support_label(word: int, label: int, logits: Sequence[Logits], encoded: Encoded) -> float:
    row, position = first_tokens(encoded)[word]
    return float(softmax(logits[row][position])[label])


def aim_at_kind(
    kind: int, part: AnswerPart, logits: Sequence[Logits], encoded: Encoded, outputs: Outputs
) -> AnswerPart:
    """The part that explains why an entity would be of a kind: by the likelier of its labels at the first token."""
    name = _kinds(encoded, outputs)[kind]
    at_token = logits[part.rows[0]][part.read_at]
    label = max(
        (number for number, label in enumerate(outputs.labels) if label[2:] == name),
        key=lambda number: float(at_token[number]),
    )
    return replace(part, name=name, target=contrast(label, len(outputs.labels), part.read_at))


def _kinds(encoded: Encoded, outputs: Outputs) -> list[str]:
    del encoded
    return list(dict.fromkeys(label[2:] for label in outputs.labels if label != OUTSIDE))


def find_entities(labels: Sequence[str]) -> Iterator[tuple[range, str]]:
    """The runs of words that are entities, each with its kind.

    Impossible sequences are read as conlleval reads them: an `I-` that continues nothing begins an entity.
    """
    start, kind = 0, ""
    for number, label in enumerate([*labels, OUTSIDE]):
        prefix, _, name = label.partition("-")
        if kind and (label == OUTSIDE or prefix == "B" or name != kind):
            yield range(start, number), kind
            kind = ""
        if label != OUTSIDE and not kind:
            start, kind = number, name


def read_target(value: Any, encoded: Encoded, outputs: Outputs) -> tuple[int, ...]:
    """Read a list of labels, given by number or by name in any scheme, as a number for each word; raises ValueError."""
    value = parse_list(value)  # csv holds a list as text
    if not isinstance(value, list | tuple) or len(value) != len(encoded.words):
        raise ValueError(f"tags are a list with a label for each of the {len(encoded.words)} tokens, not {value!r:.80}")
    labels = as_bio(value) if all(isinstance(label, str) and not label.isdecimal() for label in value) else value
    return tuple(read_label(label, outputs.labels, {}) for label in labels)


def goal(target: Sequence[int], encoded: Encoded, outputs: Outputs) -> Goal | None:
    """Every right entity, with the kind and the place that it has; others may be found beside them.

    The support is that of the entity that is least sure. A text without entities has none to lose. The words of the
    entities do not change where names may not.
    """
    wanted = [
        (kind, Span(encoded.words[words[0]].start, encoded.words[words[-1]].end))
        for words, kind in find_entities([outputs.labels[number] for number in target])
    ]

    def judge(first: NerAnswer, answer: NerAnswer, move: Move) -> Standing:
        del first
        found = {(one.label, Span(one.start, one.end)): one.score for one in answer.entities}
        scores = [found.get((kind, move("text", span))) for kind, span in wanted]
        return Standing(None not in scores, min(score or 0.0 for score in scores))

    return Goal(judge, tuple(("text", span) for _, span in wanted)) if wanted else None


def check_outputs(outputs: Outputs) -> None:
    """Refuse labels that are not BIO; raises ValueError."""
    wrong = [label for label in outputs.labels if label != OUTSIDE and label[:2] not in ("B-", "I-")]
    if wrong or OUTSIDE not in outputs.labels:
        raise ValueError(f"labels are {OUTSIDE!r} and 'B-' or 'I-' with a kind, unlike {wrong or outputs.labels}")


def measure(targets: Sequence[Sequence[int]], outcomes: Sequence[Sequence[str]], outputs: Outputs) -> dict[str, float]:
    """Precision, recall and F1 over whole entities, as conlleval counts them."""
    # Here, not at the top: serving installs no seqeval.
    from seqeval.metrics import f1_score, precision_score, recall_score

    expected = [[outputs.labels[number] for number in numbers] for numbers in targets]
    found = [list(labels) for labels in outcomes]
    return {
        "f1": float(f1_score(expected, found, zero_division=0)),
        "precision": float(precision_score(expected, found, zero_division=0)),
        "recall": float(recall_score(expected, found, zero_division=0)),
    }


NER = Task(
    name="ner",
    endpoint="ner",
    item=TextItem,
    answer=NerAnswer,
    columns={"text": ("text", "sentence", "content", "body")},
    example=NerExample,
    example_columns={"tokens": ("tokens", "words")},
    target_column="tags",
    # WNUT 2017's six kinds.
    outputs=Outputs(
        (
            OUTSIDE,
            *(
                f"{prefix}-{kind}"
                for kind in ("corporation", "creative-work", "group", "location", "person", "product")
                for prefix in "BI"
            ),
        )
    ),
    head="token-classification",
    main_metric="f1",
    encode=encode,
    decode=decode,
    claims=claims,
    read_target=read_target,
    goal=goal,
    measure=measure,
    check_outputs=check_outputs,
    changed=is_entity_lost,
    probe_items=tuple({"text": text} for text in TEXTS_WITH_NAMES),
    # Typos only: if words changed places, they would no longer stand where their tags do.
    robustness=Robustness(noisy_fields=("tokens",), edited_fields=("text",), noises=("typos",)),
    # Entities are quoted as they are written, whatever they are read as. A misspelt name is hardly found by its pieces.
    corrected=CorrectedWords(("text", "tokens"), names=True),
    explains_each=True,
    targets=Targets(names=_kinds, aim=aim_each(aim_at_kind)),
    sample_items={
        "people and places": {"text": "Ada Lovelace met Charles Babbage in London in 1833."},
        "from a social network": {"text": "off to Galway with @skipper_tom, listening to The Cranberries #Ireland"},
        "one name for two things": {"text": "Washington spoke in Washington about the new iPhone."},
    },
)
