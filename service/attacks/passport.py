"""The figures under attack that a package can state of itself, measured on the graph that answers."""

from collections.abc import Sequence

from export.package import AttackFigure
from models.attack.settings import AttackSettings
from models.attack.subjects import Subject
from models.progress import ReportProgress
from service.answers.predictor import Predictor
from service.attacks.run import ANY, Campaign
from service.attacks.victims import package_victim

CANDIDATES = 24
"""Edits of a word that are drawn and tried."""

STATED = tuple(
    AttackSettings(family="typos", words=words, candidates=CANDIDATES, allowed=("stop-words", "names"))
    for words in ("1", "2", "4")
)
"""The attacks that need nothing beside the package, so that every package can be measured with them."""


def measure_attacks(
    predictor: Predictor, subjects: Sequence[Subject], attacks: Sequence[AttackSettings], progress: ReportProgress
) -> tuple[AttackFigure, ...]:
    """The figures of each attack on a package, in their order; `load_subjects` reads the records.

    Attacks that could read no record have none.
    """
    campaign = Campaign(package_victim(predictor), subjects, attacks)
    outcomes = []
    for outcome in campaign.run():
        outcomes.append(outcome)
        attack, place = divmod(len(outcomes) - 1, len(subjects))
        progress(attacks[attack].name, place + 1, len(subjects))
    return tuple(
        AttackFigure.model_validate(one.model_dump(include=set(AttackFigure.model_fields)))
        for one in campaign.sum_up(outcomes)
        if one.attack != ANY and one.rows
    )
