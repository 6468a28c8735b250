"""Gives a correction to a package that was made without one.

Nothing here needs torch.
"""

from export.errors import CannotCorrect, OtherData
from export.package import Package
from export.session import open_packaged_model
from models.checkpoint import DataSource
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
        CannotCorrect: it corrects texts already, or it names no such parts.
        OtherData: the parts in `data` are other files.
        DataError: the texts cannot be read.
        WordNetError: WordNet is not installed here.
    """
    manifest, folder = package.manifest, package.folder
    if manifest.correction is not None:
        raise CannotCorrect(f"{folder}: corrects texts already; name a package that does not")
    refuse_other_data(package, data, "train", "calibration", "validation")
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


def refuse_other_data(package: Package, data: str, *parts: str) -> None:
    """Refuse data whose files for these parts are not those that the package was made with.

    Raises:
        OtherData: a part is another file.
        DataError: a part is missing.
    """
    for file in package.manifest.data:
        if file.part in parts and open_part(data, file.name).digest != file.sha256:
            raise OtherData(
                f"{data}: part {file.name!r} is not the file that {package.folder} was made with; name the folder of "
                "the original data"
            )
