"""Print metrics/compare.json as tables: `python -m stages.report`. No stage: it makes nothing."""

from dpr import report
from dpr.files import read_json
from dpr.settings import load_settings
from stages import run


def main() -> None:
    settings = load_settings("params.yaml")
    compared = read_json("metrics/compare.json")
    print(report.systems_table(compared, settings.eval.measures))
    print()
    print(report.tests_table(compared, "nDCG@10"))


if __name__ == "__main__":
    run(main, record=False)
