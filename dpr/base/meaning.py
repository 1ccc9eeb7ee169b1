"""What code means: which modules a file needs, and a hash of each that no comment changes."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ_PARAMS = ("dpr.settings", "dpr.params_file")  # what they read is known by its values


def of_code(source: str | Path) -> dict[str, str]:
    """{path: hash} of a file and all modules of dpr that it imports, directly or not.

    Those that only read params.yaml are left out.
    """
    found: dict[str, str] = {}
    files = [Path(source).resolve()]
    while files:
        file = files.pop()
        name = file.relative_to(ROOT).as_posix()
        if name not in found:
            tree = ast.parse(file.read_bytes())
            found[name] = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest()
            files += [path for module in _imported(tree) for path in _files(module)]
    return found


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return tree


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names that may be modules, of imports at any place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(module: str) -> Iterator[Path]:
    """The file of a module of dpr, and of the packages that it is in."""
    if not module.startswith("dpr.") or module.startswith(READ_PARAMS):
        return
    path = ROOT / module.replace(".", "/")
    packages = [parent for parent in path.parents if parent != ROOT and ROOT in parent.parents]
    for file in (path.with_suffix(".py"), *(p / "__init__.py" for p in (path, *packages))):
        if file.exists():
            yield file
