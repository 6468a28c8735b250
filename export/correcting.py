"""Gives a correction to a package that was made without one.

Nothing here needs torch.
"""

from collections.abc import Sequence

from export.errors import CannotCorrect
from export.package import Package
from export.session import open_packaged_model
from models.checkpoint import DataFile, DataSource
from models.correction.reading import Correction
from models.data import load_part
from models.evaluation import measure
from models.files.layout import USUAL_LAYOUT, Layout
from models.files.parts import open_part
from models.synonyms.known_words import make_correction


def make_correction_for(package: Package, data: str, layout: Layout = USUAL_LAYOUT) -> Correction:
    """The correction for a package, with the words of the parts that it was trained or calibrated on.

    `layout` has the names in the data where those in the manifest do not hold.

    Raises:
        CannotCorrect: it corrects texts already, it names no such parts, or those in `data` are other files.
        DataError: the texts cannot be read.
        WordNetError: WordNet is not installed here.
    """
    manifest, folder = package.manifest, package.folder
    if manifest.correction is not None:
        raise CannotCorrect(f"{folder}: corrects texts already; name a package that does not")
    _refuse_other_files(package, data, manifest.data)
    if not package.task.corrected.fields:
        return Correction()
    used = tuple(file.name for file in manifest.data if file.part in ("train", "calibration"))
    if not used:
        raise CannotCorrect(
            f"{folder}: names no texts that it was trained on, from which the known words come; import it again with "
            "--data, or export its checkpoint with --correct"
        )
    layout = layout.over(manifest.layout)
    source = DataSource(data=data, train=used, columns=layout.columns, label_map=layout.label_map)
    return make_correction(source, package.task, package.reader().tokenizer, None)


def measure_metrics(package: Package, data: str, layout: Layout = USUAL_LAYOUT) -> dict[str, dict[str, float]]:
    """The task's metrics on the part that the package's quality was measured on; nothing where it was not.

    Raises:
        DataError: the part cannot be read.
    """
    manifest, model = package.manifest, open_packaged_model(package.folder)
    layout = layout.over(manifest.layout)

    def metrics_on(name: str) -> dict[str, float]:
        part = load_part(data, name, "validation", package.task, manifest.meaning, model.reader, layout=layout)
        return measure(model, part.examples)

    names = [file.name for file in manifest.data if file.part == "validation"]
    return {name: metrics_on(name) for name in names} if manifest.quality.measured else {}


def _refuse_other_files(package: Package, data: str, files: Sequence[DataFile]) -> None:
    for file in files:
        if file.part in ("train", "calibration", "validation") and open_part(data, file.name).digest != file.sha256:
            raise CannotCorrect(
                f"{data}: part {file.name!r} is not the file that {package.folder} was made with; name the folder of "
                "the original data"
            )
