"""The passport of a package: measured under attack, with random noise, on misleading sets, with exchanged names."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from export.figures.passport import AttackFigure, NameGap, Passport
from export.session import open_packaged_model
from models.attack.settings import AttackSettings
from models.attack.subjects import Subject, load_subjects
from models.edits import find_family
from models.files.layout import USUAL_LAYOUT, Layout
from models.measuring.name_gap import measure_name_gap
from models.measuring.robustness import measure_robustness
from models.progress import ReportProgress, Say
from models.synonyms.wordnet import WordNetError
from service.answers.predictor import Predictor
from service.attacks.run import ANY, Campaign
from service.attacks.victims import package_victim

CANDIDATES = 24
"""Edits of a word that are drawn and tried."""

ATTACKED_ROWS = 400
ATTACKED_WORDS = 40_000
"""Records that are attacked: so many, or those that have so many words together."""

MEASURED_ROWS = 2_000
"""Records of each noisy part, misleading set and suite that are measured, or all if there are fewer."""

STATED = tuple(
    AttackSettings(family=family, words=words, candidates=CANDIDATES, allowed=("stop-words", "names"))
    for family, words in (("typos", "1"), ("typos", "2"), ("synonyms+any-sense", "20%"))
)
"""The attacks that a passport holds."""


def measure_passport(
    predictor: Predictor, data: str, part: str, progress: ReportProgress, say: Say, layout: Layout = USUAL_LAYOUT
) -> Passport:
    """Measure everything that a passport holds, on the validation part and the other parts in the data folder.

    `layout` has the names in the part where the manifest's do not hold.

    `say` names what was left out, because its data or WordNet are not here.

    Raises:
        DataError: the part cannot be read.
        NotAttackable: no record has an answer that an attack could make wrong.
    """
    manifest = predictor.package.manifest
    attacks = [one for one in STATED if _is_possible(one, say)]
    layout = layout.over(manifest.layout)
    subjects = load_subjects(data, part, predictor.task, manifest.meaning, (), ATTACKED_ROWS, layout)
    figures = measure_attacks(predictor, list(_within(subjects, ATTACKED_WORDS)), attacks, progress)
    model = open_packaged_model(predictor.package.folder)
    report = measure_robustness(model, data, [part], progress, MEASURED_ROWS, layout)
    for name, reason in report.left_out.items():
        say(f"not measured: {name}: {reason}")
    gap = measure_name_gap(model)
    return Passport(
        attacks=figures,
        metrics={
            name.replace(f"{part}, ", "random "): {key: value for key, value in metrics.items() if "/" not in key}
            for name, metrics in report.found.items()
            if name != part
        },
        name_gap=NameGap(**asdict(gap)) if gap else None,
    )


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


def _is_possible(attack: AttackSettings, say: Say) -> bool:
    try:
        find_family(attack.family)
    except WordNetError as error:
        say(f"not measured: {attack.name}: {error}")
        return False
    return True


def _within(subjects: Sequence[Subject], most_words: int) -> Iterator[Subject]:
    """The first subjects, as long as they have no more words together; at least one."""
    words = 0
    for number, subject in enumerate(subjects):
        words += sum(map(len, subject.source.encoded.rows))
        if number and words > most_words:
            return
        yield subject
