"""versions.yaml: the versions of the packages that made the results here."""

from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from dpr.base.environment import PACKAGES, installed
from dpr.base.errors import InputError
from dpr.base.files import new_file

FILE = Path("versions.yaml")


def recorded() -> dict[str, str]:
    """Raises InputError if the file is missing or not YAML, for instance after a merge conflict."""
    if not FILE.exists():
        raise InputError(f"{FILE}: no such file; run from the root of the repository")
    try:
        return dict(YAML(typ="safe", pure=True).load(FILE) or {})
    except (YAMLError, TypeError, ValueError) as error:
        raise InputError(f"{FILE}: not valid YAML: {error}") from None


def record(versions: dict[str, str]) -> None:
    """Write the versions; the comment at the top stays."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    rows = [f'{package}: "{version}"' for package, version in sorted(versions.items())]
    with new_file(FILE) as file:
        file.write("\n".join([*comments, *rows, ""]))


def require_recorded() -> None:
    """Raises InputError if a package is installed in another version than versions.yaml says."""
    before = recorded()
    for package, now in installed(*PACKAGES).items():
        if before.get(package) != now:
            raise InputError(
                f"{FILE}: {package} {before.get(package)}, but {now} is installed, and results "
                "would differ. Install the versions of requirements.txt, or run `python -m "
                "tools.versions` to accept this one: DVC then reruns the stages that depend on it"
            )
