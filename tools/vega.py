"""Make .dvc/plots.html, the page of `dvc plots show`, which draws without a network.

Reads three packages of npm: Vega, Vega-Lite and vega-embed, which it writes into the page with
their licence. Needed only for another version of them:

    npm pack vega@6.4.0 vega-lite@6.5.0 vega-embed@7.3.0
    python -m tools.vega vega-6.4.0.tgz vega-lite-6.5.0.tgz vega-embed-7.3.0.tgz
"""

import json
import tarfile
from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.files import new_file
from stages.run import one_line_errors, parser

PAGE, TEMPLATE = Path(".dvc/plots.html"), Path("tools/pages/plots.html")


def main(packages: list[Path]) -> None:
    with new_file(PAGE) as file:
        scripts = "\n".join(map(script, packages))
        file.write(TEMPLATE.read_text(encoding="utf-8").replace("{vega}", scripts))


def script(package: Path) -> str:
    """The package's code as an element, after its name and licence."""
    try:
        with tarfile.open(package) as tar:
            about = json.loads(_text(tar, "package/package.json"))
            name = f"{about['name']} {about['version']}"
            code = _text(tar, f"package/build/{about['name']}.min.js")
            licence = _text(tar, "package/LICENSE")
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise InputError(f"{package}: not what `npm pack` makes ({error})") from None
    code = "\n".join(line for line in code.splitlines() if not line.startswith("//# sourceMap"))
    if "</script" in code.lower():
        raise InputError(f"{package}: its code cannot stand in a page")
    return f"<script>\n/* {name}\n\n{licence.strip()}\n*/\n{code}\n</script>"


def _text(tar: tarfile.TarFile, name: str) -> str:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read().decode()


if __name__ == "__main__":
    arguments = parser("tools.vega", __doc__)
    arguments.add_argument("packages", nargs=3, type=Path, help="files that `npm pack` makes")
    chosen = arguments.parse_args()
    with one_line_errors("vega"):
        main(chosen.packages)
