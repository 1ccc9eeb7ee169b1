"""Outside a terminal: a line per minute, and none for quick work."""

import time

from dpr.base import progress


def test_a_line_each_time(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    for _ in progress.progress(range(20), desc="search", unit="things"):
        time.sleep(0.01)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5
    assert all(line.startswith("search: ") and " of 20 things, " in line for line in lines)


def test_quick_or_hidden_work_prints_nothing(monkeypatch, capsys):
    list(progress.progress(range(3), unit="things"))
    monkeypatch.setattr(progress, "EVERY", 0.0)
    list(progress.progress(range(3), shown=False))
    with progress.progress(total=0):
        pass
    assert capsys.readouterr().err == ""
