"""Print the measures of all systems with intervals, and the tests against the references.

Reads metrics/compare.json.

    python -m tools.report
"""

from dpr.base.files import read_json
from dpr.evaluation import report
from dpr.measures import HEADLINE
from dpr.settings import load_settings
from stages.run import parser, told_in_one_line


def main() -> None:
    settings = load_settings("params.yaml")
    compared = read_json("metrics/compare.json")
    print(report.systems_table(compared, settings.eval.measures))
    print()
    print(report.tests_table(compared, HEADLINE))


if __name__ == "__main__":
    parser("tools.report", __doc__).parse_args()
    with told_in_one_line("report"):
        main()
