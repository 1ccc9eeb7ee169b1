"""Which code decides a result: what is imported, but for its comments."""

import pytest

from dpr.base import meaning

LOSS = '''"""Losses."""
from dpr.base import files


def loss(x):
    """Of x."""
    return 2 * x
'''
CODE = {
    "stage.py": "from dpr.training.loss import loss\n",
    "dpr/__init__.py": "",
    "dpr/training/__init__.py": '"""Training."""\n',
    "dpr/training/loss.py": LOSS,
    "dpr/training/other.py": "x = 1\n",
    "dpr/base/__init__.py": "",
    "dpr/base/files.py": "def late():\n    from dpr import late\n\n    import dpr.settings.a\n",
    "dpr/late.py": "y = 2\n",
    "dpr/settings/__init__.py": "",
    "dpr/settings/a.py": "z = 3\n",
}


@pytest.fixture
def code(tmp_path, monkeypatch):
    monkeypatch.setattr(meaning, "ROOT", tmp_path)
    for name, text in CODE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_it_is_what_is_imported_at_any_place_but_for_the_settings(code):
    expected = ["dpr/__init__.py", "dpr/base/__init__.py", "dpr/base/files.py", "dpr/late.py"]
    expected += ["dpr/training/__init__.py", "dpr/training/loss.py", "stage.py"]
    assert sorted(meaning.of_code(code / "stage.py")) == expected


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ('"""Of x."""', '"""Of x, doubled."""', False),
        ('"""Losses."""\n', "", False),
        ("return 2 * x", "return (2 * x)  # doubled", False),
        ("return 2 * x", "return 3 * x", True),
        ('    """Of x."""\n', '    "of x".upper()\n', True),
    ],
)
def test_comments_decide_nothing(code, old, new, differs):
    before = meaning.of_code(code / "stage.py")
    (code / "dpr/training/loss.py").write_text(LOSS.replace(old, new))
    after = meaning.of_code(code / "stage.py")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == ({"dpr/training/loss.py"} if differs else set())
