"""Extractive reading comprehension: finds the words of a context that answer a question, or says that none do.

A span's score is the sum of the logits at its two ends. It is compared with the score of the first token, which stands
for "no answer" (Devlin et al., NAACL 2019, section 4.3).
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, Field, NonNegativeInt

from models.correction.reading import CorrectedWords
from models.tasks.goals import Goal, Move, Standing
from models.tasks.reading_comprehension import COLUMNS, ReadingItem
from models.tasks.robustness import Robustness
from models.tasks.task import (
    AnswerPart,
    Claim,
    Judgement,
    LabelScore,
    Logits,
    Outputs,
    Prediction,
    Task,
    TaskAnswer,
    parse_list,
    refuse_other_labels,
    softmax,
)
from models.tasks.texts.probe_texts import QUESTIONS
from models.text import BadInput, Encoded, Reader, Row, Target, Truncation
from models.words import Span, trim

LABELS = ("start", "end")

BEST_SPANS = 20
"""Number of spans that share the probability left over by "no answer"."""

LONGEST_ANSWER = 30
"""Most tokens in a span."""


class SpanScore(LabelScore):
    """A span of the context and its probability."""

    start: int
    end: int


class ExtractiveAnswer(TaskAnswer):
    """The span of the context that answers the question, or null where it holds no answer."""

    answer: str | None = Field(description="Always `context[start:end]`.")
    start: int | None = Field(description="In the request's `offset_unit`.")
    end: int | None
    score: float = Field(ge=0, le=1, description="Probability of the answer, or of there being none.")
    no_answer_score: float = Field(ge=0, le=1, description="Probability that the context holds no answer.")
    scores: tuple[SpanScore, ...] = Field(description="The best spans, most probable first.")

    def moved(self, move: Callable[[str, Sequence[Span]], Sequence[Span]]) -> Self:
        """The same answer with the offsets of its spans in another unit."""
        spans = move("context", [Span(span.start, span.end) for span in self.scores])
        scores = tuple(
            score.model_copy(update={"start": span.start, "end": span.end})
            for score, span in zip(self.scores, spans, strict=True)
        )
        place = {"start": scores[0].start, "end": scores[0].end} if self.answer is not None else {}
        return self.model_copy(update={"scores": scores, **place})

    def judgements(self) -> tuple[Judgement, ...]:
        """The answer; its text is no label."""
        return (Judgement(None, self.score),)

    def headlines(self) -> tuple[str, ...]:
        """The answer with its probability, or a remark that there is none."""
        return super().headlines() if self.answer is not None else (f"no answer  {self.score:.3f}",)

    def places(self) -> tuple[tuple[str, Span], ...]:
        """The span of the context that answers the question, if one does."""
        return () if self.start is None or self.end is None else (("context", Span(self.start, self.end)),)


def encode(item: ReadingItem, reader: Reader, truncation: Truncation) -> Encoded:
    """Make a row for each window of the context, each beside the whole question."""
    if item.choices is not None:
        raise BadInput("validation", "choices", "not taken: this model finds the answer in the context; leave them out")
    return reader.read_against("context", item.context, [{"question": item.question}], truncation=truncation)


def decode(logits: Sequence[Logits], encoded: Encoded, outputs: Outputs) -> Prediction[ExtractiveAnswer]:
    """Find the best span over all windows; there is none where "no answer" reaches `outputs.no_answer_threshold`."""
    best = _best_candidates(logits, encoded)
    # "No answer" must hold for every window, so the window that is least sure of it counts.
    nothing = min(float(row[0].sum()) for row in logits)
    probabilities = softmax(np.array([nothing, *(candidate.score for candidate in best)])).tolist()
    context = encoded.texts["context"]
    scores = tuple(
        SpanScore(label=context[start:end], score=share, start=start, end=end)
        for (start, end), share in zip((candidate.span for candidate in best), probabilities[1:], strict=True)
    )
    if not scores or probabilities[0] >= outputs.no_answer_threshold:
        answer = ExtractiveAnswer(
            answer=None, start=None, end=None, score=probabilities[0], no_answer_score=probabilities[0], scores=scores
        )
        return Prediction(answer, outcome="", parts=(_nothing(len(logits)),))
    first, place = scores[0], best[0]
    answer = ExtractiveAnswer(
        answer=first.label,
        start=first.start,
        end=first.end,
        score=first.score,
        no_answer_score=probabilities[0],
        scores=scores,
    )
    ends: Target = {(place.token, 0): 1.0, (place.last, 1): 1.0}
    part = AnswerPart(first.label, rows=(place.row,), target=ends, read_at=place.token)
    return Prediction(answer, outcome=first.label, parts=(part,))


def claims(prediction: Prediction[ExtractiveAnswer], encoded: Encoded, outputs: Outputs) -> tuple[Claim]:
    """Claim the answered span, supported by its probability, which is 0 where it is not among the best spans.

    Its words are never taken out. Without an answer the claim is that there is none.
    """
    del encoded
    answered = prediction.answer

    def support(logits: Sequence[Logits], encoded: Encoded) -> float:
        found = decode(logits, encoded, outputs).answer
        if answered.answer is None:
            return found.no_answer_score
        place = (answered.start, answered.end)
        return next((one.score for one in found.scores if (one.start, one.end) == place), 0.0)

    if answered.start is None or answered.end is None:
        return (Claim(support),)
    return (Claim(support, (("context", Span(answered.start, answered.end)),)),)


def is_other_span(before: ExtractiveAnswer, after: ExtractiveAnswer) -> bool:
    """Whether two answers differ as SQuAD compares them, without case, signs and articles; no answer is one too."""
    if before.answer is None or after.answer is None:
        return before.answer is not after.answer
    return _plain(before.answer) != _plain(after.answer)


def _nothing(rows: int) -> AnswerPart:
    """The part of an answer that says that none of so many rows holds one; both ends are at the first token."""
    return AnswerPart("no answer", rows=tuple(range(rows)), target={(0, 0): 1.0, (0, 1): 1.0})


@dataclass(frozen=True)
class RightAnswers:
    """The right answers to one question, as people gave them."""

    texts: tuple[str, ...]
    """Each of these is right; an empty tuple means that there is no answer."""
    span: Span | None
    """Where the first of them stands in the context; None where there is no answer."""


def read_target(value: Any, encoded: Encoded, outputs: Outputs) -> RightAnswers:
    """Read answers as SQuAD has them, `{"text": [...], "answer_start": [...]}`; raises ValueError."""
    del outputs
    try:
        given = _Given.model_validate(parse_list(value))
        pairs = list(zip(given.text, given.answer_start, strict=True))
    except ValueError as error:
        raise ValueError(f'answers are {{"text": [...], "answer_start": [...]}}, not {value!r:.80}') from error
    for text, start in pairs:
        if not text or encoded.texts["context"][start : start + len(text)] != text:
            raise ValueError(f"answer {text!r:.80} does not stand at {start} of the context")
    return RightAnswers(given.text, Span(pairs[0][1], pairs[0][1] + len(pairs[0][0])) if pairs else None)


class _Given(BaseModel):
    """The right answers as SQuAD writes them."""

    text: tuple[str, ...]
    answer_start: tuple[NonNegativeInt, ...]


def goal(target: RightAnswers, encoded: Encoded, outputs: Outputs) -> Goal:
    """One of the right texts, written as `measure` compares them, and the probability of all of them together.

    Without a right text it is that no answer is given. The words of the answer do not change.
    """
    del encoded, outputs
    right = frozenset(map(_plain, target.texts))

    def judge(first: ExtractiveAnswer, answer: ExtractiveAnswer, move: Move) -> Standing:
        del first, move
        if not right:
            return Standing(answer.answer is None, answer.no_answer_score)
        support = sum(one.score for one in answer.scores if _plain(one.label) in right)
        return Standing(answer.answer is not None and _plain(answer.answer) in right, min(support, 1.0))

    return Goal(judge, () if target.span is None else (("context", target.span),))


def measure(targets: Sequence[RightAnswers], outcomes: Sequence[str], outputs: Outputs) -> dict[str, float]:
    """Exact match and word-level F1 as SQuAD has them: of several right answers, the best match counts."""
    del outputs
    pairs = [(target.texts or ("",), outcome) for target, outcome in zip(targets, outcomes, strict=True)]
    count = max(len(pairs), 1)
    return {
        "f1": sum(max(_overlap(right, found) for right in texts) for texts, found in pairs) / count,
        "exact_match": sum(any(_plain(right) == _plain(found) for right in texts) for texts, found in pairs) / count,
    }


@dataclass(frozen=True)
class _Candidate:
    """A span, its score, its row, and the tokens at which it begins and ends."""

    score: float
    span: Span
    row: int
    token: int
    last: int


def _best_candidates(logits: Sequence[Logits], encoded: Encoded) -> list[_Candidate]:
    """The best spans, best first; a span that several windows hold counts once, with its best score."""
    best: dict[Span, _Candidate] = {}
    context = encoded.texts["context"]
    for number, (row, scores) in enumerate(zip(encoded.rows, logits, strict=True)):
        for candidate in _candidates(number, row, scores, context):
            known = best.get(candidate.span)
            if known is None or candidate.score > known.score:
                best[candidate.span] = candidate
    return sorted(best.values(), key=lambda candidate: (-candidate.score, candidate.span))[:BEST_SPANS]


def _candidates(number: int, row: Row, scores: Logits, context: str) -> Iterator[_Candidate]:
    # Tokenizers that work on bytes have tokens for blanks, alone or before a word.
    trimmed = ((position, trim(span, context)) for position, span in row.spans("context"))
    placed = [(position, span) for position, span in trimmed if span.start < span.end]
    positions = np.array([position for position, _ in placed], dtype=np.int64)
    sums = scores[positions, 0][:, None] + scores[positions, 1][None, :]
    allowed = np.triu(np.ones(sums.shape, dtype=bool)) & ~np.triu(np.ones(sums.shape, dtype=bool), LONGEST_ANSWER)
    sums = np.where(allowed, sums, -np.inf)
    for place in np.argsort(-sums, axis=None, kind="stable")[:BEST_SPANS]:
        first, last = divmod(int(place), len(positions))
        if allowed[first, last]:
            span = Span(placed[first][1].start, placed[last][1].end)
            yield _Candidate(float(sums[first, last]), span, number, int(positions[first]), int(positions[last]))


def _plain(answer: str) -> str:
    """Drop case, punctuation, articles and extra spaces."""
    kept = "".join(character for character in answer.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def _overlap(right: str, found: str) -> float:
    expected, given = _plain(right).split(), _plain(found).split()
    if not expected or not given:
        return float(expected == given)
    common = sum((Counter(expected) & Counter(given)).values())
    return 2 * common / (len(expected) + len(given))


EXTRACTIVE_READING = Task(
    name="extractive-reading-comprehension",
    endpoint="reading-comprehension",
    item=ReadingItem,
    answer=ExtractiveAnswer,
    columns={name: known_as for name, known_as in COLUMNS.items() if name != "choices"},
    target_column="answers",
    outputs=Outputs(LABELS),
    head="question-answering",
    main_metric="f1",
    encode=encode,
    decode=decode,
    claims=claims,
    read_target=read_target,
    goal=goal,
    measure=measure,
    check_outputs=refuse_other_labels(LABELS),
    changed=is_other_span,
    probe_items=tuple({"context": context, "question": question} for context, question, _ in QUESTIONS),
    # The context stays as it is, because the answer is a span of it.
    robustness=Robustness(noisy_fields=("question",)),
    corrected=CorrectedWords(("question",)),
    sample_items={
        "words of the text": {
            "context": "The ferry leaves Galway at nine, calls at two islands, and comes back at four.",
            "question": "When does the ferry come back?",
        },
        "no answer": {
            "context": "The ferry leaves Galway at nine, calls at two islands, and comes back at four.",
            "question": "Who is the skipper?",
        },
    },
)
