"""params.yaml as a pydantic model, with one clear line for each problem in it.

By YAML 1.2, `3e-05`, which `dvc exp run -S train.lr=3e-5` writes, is a number there.
(PyYAML, which reads YAML 1.1, takes it for text.)
"""

import reprlib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML, YAMLError

from dpr.base.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


def read(path: str | Path, model: type[Model]) -> Model:
    """The file's values, checked by the model.

    Raises:
        InputError: naming each key that is missing, unknown, of a wrong type or out of range.
    """
    try:
        values = YAML(typ="safe", pure=True).load(Path(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run from the root of the repository") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [f"  {_describe(dict(problem), model)}" for problem in error.errors()]
        raise InputError("\n".join([f"{path}:", *problems])) from None


def _describe(problem: dict[str, Any], model: type[BaseModel]) -> str:
    """One line for one of pydantic's error records."""
    # pydantic adds the branch of a union ("int") to the location, which is no part of the key.
    key = ".".join(str(part) for part in problem["loc"] if part not in ("int", "float"))
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_group_at(problem["loc"][:-1], model).model_fields)
        return f"{key}: unknown key (known here: {known})"
    if problem["type"] == "missing":
        return f"{key}: missing; every key has to be given"
    message = problem["msg"].removeprefix("Value error, ")
    given = problem["input"]
    shown = "" if isinstance(given, dict) else f" (got {reprlib.repr(given)})"
    return f"{key or 'the file'}: {message}{shown}"


def _group_at(location: tuple[str, ...], model: type[BaseModel]) -> type[BaseModel]:
    group: Any = model
    for part in location:
        group = group.model_fields[part].annotation
    return group
