"""Record in versions.yaml the installed versions of packages that affect results.

Reads the installed packages. `dvc repro` then reruns the stages that depend on a changed
package. `make repro` calls this tool first.

    python -m tools.versions
"""

from dpr.base.environment import installed
from stages import versions
from stages.run import one_line_errors, parser


def main() -> None:
    before = versions.recorded()
    now = before | installed(*before)  # a package that is not installed keeps its version
    changed = [package for package in before if now[package] != before[package]]
    for package in changed:
        print(f"{package}: {before[package]} -> {now[package]}")
    if changed:
        versions.record(now)


if __name__ == "__main__":
    parser("tools.versions", __doc__).parse_args()
    with one_line_errors("versions"):
        main()
