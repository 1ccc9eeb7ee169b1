"""README's tree names every module of dpr, each in its package, and nothing else."""

import re

from helpers import ROOT


def test_the_tree_is_that_of_the_files():
    text = (ROOT / "README.md").read_text().split("## What is where")[1].split("```")[1]
    lines = text.split("dpr/\n")[1].split("tests/")[0].splitlines()
    named, package = set(), ""
    for line in lines:
        indent, name = re.match(r"( +)(\S+)", line).groups()
        if name.endswith("/"):
            package = name
        else:
            named.add(name if len(indent) == 2 else package + name)
    files = {str(path.relative_to(ROOT / "dpr")) for path in (ROOT / "dpr").rglob("*.py")}
    assert named == {file for file in files if not file.endswith("__init__.py")}
