"""Write docs/parameters.md: every key of params.yaml with its value, its type and its range.

Reads params.yaml, whose comments say what a key means, and the types of dpr/settings.

    python -m tools.parameters
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from dpr.base.files import new_file
from dpr.evaluation.report import table
from dpr.settings import Settings
from stages.run import one_line_errors, parser

PAGE, PARAMS = Path("docs/parameters.md"), Path("params.yaml")
LIMITS = {"minimum": "from {}", "exclusiveMinimum": "above {}"}
LIMITS |= {"maximum": "to {}", "exclusiveMaximum": "below {}"}


def main() -> None:
    with new_file(PAGE) as file:
        file.write(page())
    print(f"{PAGE}: made from {PARAMS} and its types")


def page() -> str:
    """A table for each group of params.yaml."""
    schema = Settings.model_json_schema()
    said, values = comments(), YAML(typ="safe", pure=True).load(PARAMS)
    tables: dict[str, list[list[str]]] = {}
    for key, about, value in leaves(schema, schema, values):
        group = key.split(".")[0] if "." in key else ""
        shown = f"`{json.dumps(value, ensure_ascii=False)}`"
        cells = [f"`{key}`", shown, kind(about, schema), said.get(key, "")]
        tables.setdefault(group, []).append([cell.replace("|", "\\|") for cell in cells])
    parts = [
        "# Parameters",
        "Made by `python -m tools.parameters` of `params.yaml` and the types in `dpr/settings/`.\n"
        "Set one with `dvc exp run -S train.lr=3e-5`.",
    ]
    for group, rows in tables.items():
        parts += [f"## {group}", *filter(None, [said.get(group)])] if group else []
        parts.append(table(["key", "value", "type", "what it is"], rows))
    return "\n\n".join(parts) + "\n"


def leaves(
    about: dict[str, Any], schema: dict[str, Any], values: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """(key, its schema, its value) of all that is no group."""
    for name, field in about["properties"].items():
        inside = resolved(field, schema)
        if "properties" in inside and isinstance(values[name], dict):
            yield from leaves(inside, schema, values[name], f"{prefix}{name}.")
        else:
            yield prefix + name, field, values[name]


def resolved(about: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = about
    while "$ref" in found:
        found = schema["$defs"][found["$ref"].split("/")[-1]]
    return found


def kind(about: dict[str, Any], schema: dict[str, Any]) -> str:
    """A type in words."""
    about = resolved(about, schema)
    if "anyOf" in about:
        return " or ".join(kind(one, schema) for one in about["anyOf"])
    if "enum" in about:
        return ", ".join(map(str, about["enum"]))
    if "const" in about:
        return str(about["const"])
    plain = str(about.get("type", "any"))
    name = {"string": "text", "boolean": "true, false"}.get(plain, plain)
    if name == "array":
        return f"list of {kind(about.get('items', {}), schema)}"
    limits = [words.format(f"{about[key]:g}") for key, words in LIMITS.items() if key in about]
    return " ".join([name, *limits])


def comments() -> dict[str, str]:
    """{key or group: what params.yaml says of it}, beside it, below that, or in the lines above."""
    found: dict[str, str] = {}
    path: list[str] = []
    above: list[str] = []
    deep = math.inf  # a comment that begins so far right goes on with the one beside the last key
    for line in PARAMS.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"( *)#\s?(.*)", line):
            if len(match[1]) >= deep:
                found[".".join(path)] += f" {match[2]}"
            else:
                above.append(match[2])
            continue
        match = re.match(r"( *)([\w@-]+):(.*)", line)
        if match is None:
            above, deep = [], math.inf
            continue
        path = [*path[: len(match[1]) // 2], match[2]]
        beside = re.search(r"(?:^|\s)#\s?(.*)", match[3])
        found[".".join(path)] = " ".join([*above, *([beside[1]] if beside else [])])
        above, deep = [], len(match[1]) + 3 if beside else math.inf
    return found


if __name__ == "__main__":
    parser("tools.parameters", __doc__).parse_args()
    with one_line_errors("parameters"):
        main()
