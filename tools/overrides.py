"""Values of `dvc exp run -S KEY=VALUE`: the shell parses them, then DVC by the rules of Hydra."""

import re
import shlex
from collections.abc import Mapping

PLAIN = re.compile(
    r"(?:[A-Za-z]+:|v-)[A-Za-z0-9_./-]+", re.ASCII
)  # the same with and without quotes


def quoted(text: str) -> str:
    r"""In double quotes, Hydra takes any text. It needs `\` before a quote and before `${`."""
    escaped = re.sub(r'(\\*)("|\$\{|\Z)', lambda found: found[1] * 2 + _escaped(found[2]), text)
    return f'"{escaped}"'


def _escaped(mark: str) -> str:
    return mark and "\\" + mark


def shown(changes: Mapping[str, str | int]) -> str:
    """`-S KEY=VALUE` for each change, to paste into a shell."""
    values = {
        key: str(value) if isinstance(value, int) or PLAIN.fullmatch(value) else quoted(value)
        for key, value in changes.items()
    }
    return " ".join(f"-S {shlex.quote(f'{key}={value}')}" for key, value in values.items())
