"""Documents cut into passages of at most N words, by sentences where possible.

Words and not an encoder's tokens: then every encoder and BM25 search the same passages, and a new
model does not change the collection. English has about 1.3 tokens a word.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

from dpr.records.documents import id_of_passage
from dpr.records.types import Passage
from dpr.settings import PassageSettings

# A letter of a script without spaces counts as a word, with the marks that follow it, and so does
# each 40th of a longer run: Thai, Lao, Burmese, Khmer, Chinese, Japanese.
_SPACELESS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_SPACELESS += r"\U00020000-\U0003ffff"
_MARKS = "".join(chr(c) for c in range(0x0E00, 0x1800) if unicodedata.category(chr(c))[0] == "M")
_WORD = re.compile(rf"[{_SPACELESS}][{_MARKS}]*|[^\s{_SPACELESS}]{{1,40}}")
_SENTENCE_END = re.compile(r"""[.!?]['")\]]*$|[。！？]$""")  # noqa: RUF001


def cut(documents: Iterable[Passage], settings: PassageSettings) -> Iterator[Passage]:
    """The passages `DOC#0`, `DOC#1`, ... of each document, each with its title; in order.

    Without `settings.words`, the documents as they are.
    """
    if settings.words is None:
        yield from documents
        return
    for document in documents:
        texts = pieces(document.text, settings.words, settings.overlap)
        for number, text in enumerate(texts):
            yield Passage(id_of_passage(document.id, number), document.title, text)


def pieces(text: str, words: int, overlap: int) -> Iterator[str]:
    """Parts of a text that cover it, with at most `words` words each; at least one part.

    A part ends with its last sentence end in the second half, if there is one. The next part begins
    up to `overlap` words earlier, with a sentence if one begins there.

    Args:
        overlap: at most half of `words`.
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    ends = [bool(_SENTENCE_END.search(text, start, stop)) for start, stop in spans]
    start = 0
    while start + words < len(spans):
        last = range(start + words, start + words // 2, -1)  # word after the part
        stop = next((i for i in last if ends[i - 1]), start + words)
        yield text[spans[start][0] : spans[stop - 1][1]]
        first = range(stop - overlap, stop + 1)
        start = next((i for i in first if ends[i - 1]), stop - overlap)
    yield text[spans[start][0] :] if spans else text
