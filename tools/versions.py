"""Write the installed versions of the packages that affect results to versions.yaml.

Reads the installed packages. `dvc repro` then reruns the stages that depend on a package with a
changed version. `make repro` calls this tool first.

    python -m tools.versions
"""

from dpr.base.environment import PACKAGES, installed
from stages import versions
from stages.run import one_line_errors, parser


def main() -> None:
    before = versions.recorded()
    now = before | installed(*PACKAGES)  # a package that is not installed keeps its version
    if now == before:
        return
    for package in sorted(now.keys() | before.keys()):
        if now.get(package) != before.get(package):
            print(f"{package}: {before.get(package)} -> {now.get(package)}")
    versions.record(now)


if __name__ == "__main__":
    parser("tools.versions", __doc__).parse_args()
    with one_line_errors("versions"):
        main()
