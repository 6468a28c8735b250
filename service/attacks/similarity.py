"""How alike two texts are, by a package for textual similarity that is not under attack itself."""

from collections.abc import Sequence

from models.attack.search import Alike
from models.errors import UserError
from models.tasks.sts import STS
from service.answers.contract import Options
from service.answers.predictor import Predictor


class NoSimilarity(UserError):
    """A package that does not say how alike texts are."""


def measured_by(predictor: Predictor) -> Alike:
    """The normalised similarity of pairs of texts, by a package; pairs that it cannot read count as 0.

    Raises:
        NoSimilarity: the package answers another task.
    """
    if predictor.task is not STS:
        raise NoSimilarity(
            f"{predictor.name.name} answers {predictor.task.name}; similarity is measured by a package for {STS.name}"
        )

    def alike(pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        items = [STS.item(text_a=one, text_b=other) for one, other in pairs]
        found = [0.0] * len(pairs)
        for result in predictor.answer(items, Options(on_error="report")).results:
            found[result.index] = result.normalized
        return found

    return alike
