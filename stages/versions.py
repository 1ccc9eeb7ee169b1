"""versions.yaml: the packages that decide results, with the versions that made the results here."""

from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from dpr.base.environment import installed
from dpr.base.errors import InputError
from dpr.base.files import new_file

FILE = Path("versions.yaml")


def recorded() -> dict[str, str]:
    """{package: version}. Raises InputError for a missing, empty or malformed file.

    A merge conflict leaves a malformed file.
    """
    if not FILE.exists():
        raise InputError(f"{FILE}: no such file; run from the root of the repository")
    try:
        return dict(YAML(typ="safe", pure=True).load(FILE))
    except (YAMLError, TypeError, ValueError) as error:
        raise InputError(f"{FILE}: not valid YAML: {error}") from None


def record(versions: dict[str, str]) -> None:
    """Write the versions, below the comments of the file."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    rows = [f'{package}: "{version}"' for package, version in sorted(versions.items())]
    with new_file(FILE) as file:
        file.write("\n".join([*comments, *rows, ""]))


def require_recorded() -> None:
    """Raises InputError if an installed version differs from versions.yaml."""
    before = recorded()
    for package, now in installed(*before).items():
        if before[package] != now:
            raise InputError(
                f"{FILE}: {package} {before[package]}, but {now} is installed, and results "
                "would differ. Install the versions of requirements.txt, or run `python -m "
                f"tools.versions` to accept {now}: DVC then reruns the stages that need {package}"
            )
