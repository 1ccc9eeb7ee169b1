"""Reading params.yaml, with one line for each key that is wrong.

The file is YAML 1.2, where `3e-05` is a number. `dvc exp run -S train.lr=3e-5` writes this form.
(In YAML 1.1, which PyYAML reads, it is text.)
"""

import reprlib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML, YAMLError

from dpr.base.errors import InputError
from dpr.settings.whole import Settings


def load_settings(path: str | Path) -> Settings:
    """Raises InputError naming every key that is missing, unknown, mistyped or out of range."""
    try:
        values = YAML(typ="safe", pure=True).load(Path(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run from the root of the repository") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = [f"  {_described(dict(problem))}" for problem in error.errors()]
        raise InputError("\n".join([f"{path}:", *problems])) from None


def _described(problem: dict[str, Any]) -> str:
    """A pydantic error as one line."""
    # pydantic adds the branch of a union ("int") to the location; the key does not have it.
    key = ".".join(str(part) for part in problem["loc"] if part not in ("int", "float"))
    if problem["type"] == "extra_forbidden":
        group: Any = Settings
        for part in problem["loc"][:-1]:
            group = group.model_fields[part].annotation
        return f"{key}: unknown key (known here: {', '.join(group.model_fields)})"
    if problem["type"] == "missing":
        return f"{key}: missing; every key is required"
    given = problem["input"]
    shown = "" if isinstance(given, dict) else f" (got {reprlib.repr(given)})"
    return f"{key or 'the file'}: {problem['msg'].removeprefix('Value error, ')}{shown}"
