"""What params.yaml says of a key, in the page of parameters."""

from tools import parameters

TEXT = """\
# of the file

threads: null     # cores
                  # that are used
loggers_of_training: null # each
                  # of them
# Of the group,
# in two lines.
data:               # and beside
  # above
  name: x         # beside
  other: 1

  last: "#no"     # it
"""


def test_comments(monkeypatch, tmp_path):
    monkeypatch.setattr(parameters, "PARAMS", tmp_path / "params.yaml")
    parameters.PARAMS.write_text(TEXT)
    assert parameters.comments() == {
        "threads": "cores that are used",
        "loggers_of_training": "each of them",
        "data": "Of the group, in two lines. and beside",
        "data.name": "above beside",
        "data.other": "",
        "data.last": "it",
    }
