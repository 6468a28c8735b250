"""A CPU's name and flags, read from files such as Linux has."""

from pathlib import Path

from models.cpu import cpu_flags, cpu_model


def test_a_cpu_says_what_it_is_and_can(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\nprocessor\t: 1\n")
    assert (cpu_model(info), cpu_flags(info)) == ("A CPU", ("avx2", "avx512f", "avx512_vnni"))
    info.write_text("Features\t: fp asimddp i8mm\n")
    assert (cpu_model(info), cpu_flags(info)) == ("", ("asimddp", "i8mm"))


def test_a_system_that_tells_nothing_of_its_cpu_has_no_flags(tmp_path: Path) -> None:
    assert (cpu_model(tmp_path / "none"), cpu_flags(tmp_path / "none")) == ("", ())
