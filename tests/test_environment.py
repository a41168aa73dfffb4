"""The lists of packages agree: pyproject.toml, environment.yml, constraints, and what the code imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# PyPI name -> conda-forge name, where they differ.
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "eccodes": "python-eccodes"}
# On PyPI alone.
NOT_ON_CONDA = {"axe-core-python"}
# Extras that do not go into the common environment: `all` repeats the others.
APART = {"all", "simulate", "track"}


def requirements(*, apart: bool = False) -> dict[str, Requirement]:
    """Requirements of the library and of its extras by canonical name."""
    project = PYPROJECT["project"]
    lines = list(project["dependencies"])
    for extra, needs in project["optional-dependencies"].items():
        if extra not in APART or (apart and extra in ("simulate", "track")):
            lines += needs
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def pins(name: str) -> dict[str, str]:
    """Versions in a constraints file by canonical name."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!]*", line), (
            f"{name}: {line!r} is not name==version"
        )
    pinned = [line.split("==") for line in lines]
    names = [canonicalize_name(package) for package, _ in pinned]
    assert len(set(names)) == len(names), f"{name} pins a package twice"
    return dict(zip(names, [version for _, version in pinned], strict=True))


def conda_packages() -> dict[str, str]:
    """Specifiers in environment.yml by conda name, without python and pip."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    specs = [Requirement(entry) for entry in entries if isinstance(entry, str)]
    return {spec.name: str(spec.specifier) for spec in specs}


def test_conda_environment_is_pyproject() -> None:
    expected = {
        CONDA_NAMES.get(name, name): str(requirement.specifier)
        for name, requirement in requirements().items()
        if name not in NOT_ON_CONDA
    }
    expected |= {"python": PYPROJECT["project"]["requires-python"], "pip": ""}
    assert conda_packages() == expected


def test_what_conda_lacks_is_installed_by_pip() -> None:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (by_pip,) = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    wanted = [f"{name}{requirements()[name].specifier}" for name in sorted(NOT_ON_CONDA)]
    assert by_pip == [*wanted, "-e ."]


def test_all_is_every_extra_of_the_common_environment() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == set(extras) - APART


@pytest.mark.parametrize("name", sorted(requirements()))
def test_pin_is_within_the_range(name: str) -> None:
    pinned = pins("constraints.txt")
    assert name in pinned, f"constraints.txt does not pin {name}"
    assert requirements()[name].specifier.contains(pinned[name])


def test_simulation_is_pinned_in_its_own_file() -> None:
    jcm = requirements(apart=True)["jcm"]
    assert jcm.specifier.contains(pins("constraints-simulate.txt")["jcm"])
    assert "jcm" not in pins("constraints.txt")


def imported_modules(path: Path) -> set[str]:
    """Names of the top-level modules that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
    return {name.split(".")[0] for name in found}


def test_every_import_is_a_declared_dependency() -> None:
    declared = set(requirements())
    sources = sorted((ROOT / "atmorep_lite").rglob("*.py"))
    assert sources
    distributions = packages_distributions()
    undeclared = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in sources
        if path.name != "simulate.py"  # what it imports comes with jcm, in another environment
        for module in imported_modules(path) - sys.stdlib_module_names - {"atmorep_lite"}
        if not {canonicalize_name(name) for name in distributions.get(module, [])} & declared
    }
    assert not undeclared
