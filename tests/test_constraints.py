"""The oldest versions that are tested are those that pyproject.toml promises."""

import re
import tomllib

from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = re.compile(r"[\w.-]+")
NOT_TESTED = {"umap", "peers", "ray", "slurm", "sweep"}  # extras that dev does not bring


def pins(name):
    """Packages with their exact versions, and those whose line has a reason."""
    lines = (ROOT / name).read_text().splitlines()
    found = [line.partition("#") for line in lines if not line.startswith("#")]
    versions = dict(line.strip().split("==") for line, _, _ in found)
    reasons = {line.split("==")[0] for line, mark, _ in found if mark}
    return versions, reasons


def bounds():
    """The lower bound of each requirement."""
    extras = PROJECT["optional-dependencies"].items()
    wanted = [each for name, extra in extras if name not in NOT_TESTED for each in extra]
    requirements = [*PROJECT["dependencies"], *wanted]
    outside = [each for each in requirements if not each.startswith("vaelab[")]
    return {NAME.match(each)[0]: re.search(r">=([\d.]+)", each)[1] for each in outside}


def padded(version):
    numbers = [int(number) for number in version.split(".")]
    return numbers + [0] * (3 - len(numbers))


def test_the_oldest_versions_are_the_lower_bounds():
    versions, reasons = pins("constraints-oldest.txt")
    lowest = bounds()
    assert versions.keys() - reasons == lowest.keys()
    for name, bound in lowest.items():
        assert padded(versions[name]) == padded(bound), name


def test_the_versions_last_tested_are_within_the_bounds():
    versions, _ = pins("constraints.txt")
    for name, bound in bounds().items():
        if name in versions:
            assert padded(versions[name]) >= padded(bound), name
