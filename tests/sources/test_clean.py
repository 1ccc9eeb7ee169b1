"""Cleaning, against ftfy itself."""

import random

import ftfy
import pytest

from dpr.sources.checked import clean

SNIPPETS = [
    "&amp;",
    "&lt;",
    "<b>",
    "\x1b[31m",
    "\0",
    "\x7f",
    "\n",
    "\t",
    "caf\u00c3\u00a9",
    "\ufb01",
]


@pytest.mark.parametrize("alphabet", [[chr(i) for i in range(128)], [*"ab &;", *SNIPPETS]])
def test_plain_text_comes_out_as_from_ftfy(alphabet):
    rng = random.Random(0)
    for text in [*alphabet, *("".join(rng.choices(alphabet, k=8)) for _ in range(1000))]:
        assert clean(text) == " ".join(ftfy.fix_text(text).split())
