"""The tested versions of packages agree with the bounds of pyproject.toml."""

import re
import tomllib

from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = re.compile(r"[\w.-]+")
NOT_TESTED = {"umap", "peers", "ray", "slurm", "sweep"}  # extras that dev does not include


def read_pins(name):
    """Return the pinned versions by package, and the packages whose line has a comment."""
    lines = (ROOT / name).read_text().splitlines()
    parts = [line.partition("#") for line in lines if not line.startswith("#")]
    versions = dict(pin.strip().split("==") for pin, _, _ in parts)
    commented = {pin.split("==")[0] for pin, mark, _ in parts if mark}
    return versions, commented


def read_lower_bounds():
    """Return the lower bound of each requirement by package."""
    requirements = [*PROJECT["dependencies"]]
    for name, extra in PROJECT["optional-dependencies"].items():
        requirements += extra if name not in NOT_TESTED else []
    packages = [line for line in requirements if not line.startswith("vaelab[")]
    return {NAME.match(line)[0]: re.search(r">=([\d.]+)", line)[1] for line in packages}


def parse_version(version):
    """Return the three numbers of a version."""
    numbers = [int(number) for number in version.split(".")]
    return numbers + [0] * (3 - len(numbers))


def test_oldest_versions_are_the_lower_bounds():
    versions, commented = read_pins("constraints-oldest.txt")
    lowest = read_lower_bounds()
    assert versions.keys() - commented == lowest.keys()
    for name, bound in lowest.items():
        assert parse_version(versions[name]) == parse_version(bound), name


def test_pinned_versions_are_within_the_bounds():
    versions, _ = read_pins("constraints.txt")
    for name, bound in read_lower_bounds().items():
        if name in versions:
            assert parse_version(versions[name]) >= parse_version(bound), name
