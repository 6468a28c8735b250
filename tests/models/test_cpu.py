"""A CPU's name and flags, read from files such as Linux has."""

from pathlib import Path

from models.cpu import cpu_fingerprint, cpu_flags, cpu_model


def test_a_cpu_says_what_it_is_and_can(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\nprocessor\t: 1\n")
    assert (cpu_model(info), cpu_flags(info)) == ("A CPU", ("avx2", "avx512f", "avx512_vnni"))
    info.write_text("Features\t: fp asimddp i8mm\n")
    assert (cpu_model(info), cpu_flags(info)) == ("", ("asimddp", "i8mm"))


def test_a_system_that_tells_nothing_of_its_cpu_has_no_flags(tmp_path: Path) -> None:
    assert (cpu_model(tmp_path / "none"), cpu_flags(tmp_path / "none")) == ("", ())


def test_cpus_of_one_kind_with_the_same_instructions_have_one_fingerprint(tmp_path: Path) -> None:
    told = {
        "one": "model name\t: A CPU\nflags\t\t: fpu avx2\ncpu MHz\t: 3700\n",
        "busier": "model name\t: A CPU\nflags\t\t: fpu avx2\ncpu MHz\t: 1200\n",
        "larger": "model name\t: A CPU\nflags\t\t: fpu avx2 avx512bw\n",
        "other": "model name\t: B CPU\nflags\t\t: fpu avx2\n",
        "arm": "CPU part\t: 0xd0c\nFeatures\t: fp asimddp\n",
    }
    for name, text in told.items():
        (tmp_path / name).write_text(text)
    found = {name: cpu_fingerprint(tmp_path / name) for name in told}
    assert found["one"] == found["busier"]
    assert len(set(found.values())) == len(told) - 1


def test_a_cpu_whose_instructions_are_not_known_has_no_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "nameless").write_text("model name\t: A CPU\n")
    assert cpu_fingerprint(tmp_path / "none") == cpu_fingerprint(tmp_path / "nameless") == ""
