"""Makes tests/wordnet/ from a whole WordNet: the synsets of a few words and what these point to, in the same format.

python -m tests.wordnet_extract /usr/share/wordnet tests/wordnet
"""

import sys
from pathlib import Path

WORDS = {
    "noun": "film movie plot story dog luncheon lunch boredom people writer joy water increase fall entity wolf "
    "leaf leave axe axis ax basis base means mean",
    "verb": "write create increase decrease bark like love fall show eat sing make go",
    "adj": "good great lovely fine bad awful dull poor fictional happy sad unsatisfying dark real imaginary",
    "adv": "very loudly slowly well badly happily",
}
SIGNS = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
ENDINGS = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
HYPERNYM, ANTONYM, SIMILAR = "@", "!", "&"

Place = tuple[str, int]
"""A file's ending and a byte offset in it."""


def main(source: Path, target: Path) -> None:
    data = {ending: (source / f"data.{ending}").read_bytes() for ending in WORDS}
    licence = b"".join(line for line in data["noun"].splitlines(keepends=True)[:29])
    index = {ending: _index(source / f"index.{ending}") for ending in WORDS}
    kept = {
        (ending, int(offset))
        for ending, words in WORDS.items()
        for word in words.split()
        for offset in _offsets(index[ending].get(word, []))
    }
    for _ in range(2):  # what an opposite is found by is two steps away: a like adjective, then its opposite
        kept |= {to for place in kept for to in _followed(_line(data, place))}
    lines = {place: _thinned(_line(data, place), kept) for place in sorted(kept)}
    moved: dict[Place, int] = {}
    ends = dict.fromkeys(WORDS, len(licence))
    for (ending, offset), line in lines.items():
        moved[ending, offset] = ends[ending]
        ends[ending] += len(line) + 1
    target.mkdir(exist_ok=True)
    # Each of its lines begins with two spaces and a number.
    (target / "LICENSE").write_bytes(b"".join(line[4:].strip() + b"\n" for line in licence.splitlines()))
    kept_words: dict[str, set[str]] = {}
    for ending in WORDS:
        rows = [_renumbered(line, place, moved) for place, line in lines.items() if place[0] == ending]
        (target / f"data.{ending}").write_bytes(licence + b"".join(row + b"\n" for row in rows))
        entries = (_entry(fields, ending, moved) for fields in index[ending].values())
        written = [entry for entry in entries if entry]
        (target / f"index.{ending}").write_bytes(licence + "".join(written).encode())
        kept_words[ending] = bases = {entry.split()[0] for entry in written}
        exceptions = (source / f"{ending}.exc").read_text().splitlines(keepends=True)
        (target / f"{ending}.exc").write_text("".join(line for line in exceptions if bases & set(line.split()[1:])))
    counts = (source / "cntlist.rev").read_text().splitlines(keepends=True)
    (target / "cntlist.rev").write_text("".join(line for line in counts if _counts(line, kept_words)))


def _counts(line: str, words: dict[str, set[str]]) -> bool:
    """Whether a line of counts is of a word that is kept."""
    word, _, rest = line.partition("%")
    return word in words[ENDINGS[rest[0]]]


def _index(path: Path) -> dict[str, list[str]]:
    rows = (line.split() for line in path.read_text().splitlines() if not line.startswith(" "))
    return {fields[0]: fields for fields in rows}


def _offsets(fields: list[str]) -> list[str]:
    return fields[6 + int(fields[3]) :] if fields else []


def _line(data: dict[str, bytes], place: Place) -> bytes:
    ending, offset = place
    return data[ending][offset : data[ending].index(b"\n", offset)]


def _spread(line: bytes) -> tuple[list[bytes], int]:
    """The fields before the gloss, and where the number of pointers stands among them."""
    fields = line.partition(b" | ")[0].split()
    return fields, 4 + 2 * int(fields[3], 16)


def _pointers(line: bytes) -> list[tuple[str, Place]]:
    fields, at = _spread(line)
    starts = range(at + 1, at + 1 + 4 * int(fields[at]), 4)
    return [(fields[one].decode(), (SIGNS[fields[one + 2].decode()], int(fields[one + 1]))) for one in starts]


def _followed(line: bytes) -> set[Place]:
    """Like adjectives only from those that stand around one."""
    is_satellite = line.split()[2] == b"s"
    symbols = {HYPERNYM, ANTONYM, *((SIMILAR,) if is_satellite else ())}
    return {to for symbol, to in _pointers(line) if symbol in symbols}


def _thinned(line: bytes, kept: set[Place]) -> bytes:
    """Without the pointers that lead out of what is kept; as long as it will be with other offsets."""
    fields, at = _spread(line)
    pointers = [
        b" ".join(fields[at + 1 + 4 * number : at + 5 + 4 * number])
        for number, (_, to) in enumerate(_pointers(line))
        if to in kept
    ]
    rest = fields[at + 1 + 4 * int(fields[at]) :]
    return b" ".join([*fields[:at], b"%03d" % len(pointers), *pointers, *rest]) + b" | " + line.partition(b" | ")[2]


def _renumbered(line: bytes, place: Place, moved: dict[Place, int]) -> bytes:
    fields, at = _spread(line)
    fields[0] = b"%08d" % moved[place]
    for number, (_, to) in enumerate(_pointers(line)):
        fields[at + 2 + 4 * number] = b"%08d" % moved[to]
    return b" ".join(fields) + b" | " + line.partition(b" | ")[2]


def _entry(fields: list[str], ending: str, moved: dict[Place, int]) -> str | None:
    offsets = [moved[ending, int(old)] for old in _offsets(fields) if (ending, int(old)) in moved]
    if not offsets:
        return None
    symbols = fields[4 : 4 + int(fields[3])]
    tagged = min(int(fields[5 + int(fields[3])]), len(offsets))
    numbers = " ".join(f"{offset:08d}" for offset in offsets)
    count = len(offsets)
    return f"{fields[0]} {fields[1]} {count} {len(symbols)} {' '.join(symbols)} {count} {tagged} {numbers}  \n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
