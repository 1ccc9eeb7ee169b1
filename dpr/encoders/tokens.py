"""Texts to token ids, and token ids to padded batches of similar length."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import normalizers
from tokenizers.processors import TemplateProcessing

from dpr.base.errors import InputError
from dpr.encoders.spec import EncoderSpec, Role, read_spec
from dpr.records.types import Query

TOKENIZED_AT_ONCE = 1_000  # texts; the tokenizer's own output is large
Tokens = np.ndarray  # (T,) int32 token ids of one text, with [CLS] and [SEP], truncated


class Tokenizer:
    """The tokenizer of an encoder, with its prefixes and lengths.

    It needs neither torch nor transformers, which take seconds to load.
    """

    def __init__(self, backend: tokenizers.Tokenizer, spec: EncoderSpec):
        self.backend, self.spec = backend, spec

    @classmethod
    def open(cls, folder: Path) -> "Tokenizer":
        """The tokenizer of a saved encoder. Raises InputError if it is missing or damaged."""
        spec = read_spec(folder)
        file = spec.folders(folder)["passage"] / "tokenizer.json"
        try:
            backend = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises no narrower one
            raise InputError(f"{file}: cannot be read ({error}); make it again") from None
        set_case(backend, spec)
        return cls(backend, spec)

    def tokenize(self, texts: list[str], role: Role, max_length: int | None = None) -> list[Tokens]:
        """Token ids of each text, with the role's prefix, truncated to `limit` tokens."""
        limit = self.limit(role, max_length)
        self.backend.enable_truncation(limit, direction=self.spec.truncation_side)
        return self._token_ids(self.spec.with_prefix(texts, role))

    def limit(self, role: Role, max_length: int | None = None) -> int:
        """The most tokens of a text and its prefix, which takes none from the text.

        The text has the role's length, or `max_length` if that is shorter.
        """
        longest = self.spec.max_length(role)
        return min(max_length or longest, longest) + self.prefix_tokens(role)

    def prefix_tokens(self, role: Role) -> int:
        self.backend.no_truncation()
        with_prefix, without = self._token_ids([*self.spec.with_prefix(["a"], role), "a"])
        return max(0, len(with_prefix) - len(without))

    def count(self, texts: list[str], role: Role) -> list[int]:
        """Tokens of each text before truncation, without the role's prefix.

        `tokenize` truncates a text that has more than the role's length.
        """
        prefix = self.prefix_tokens(role)
        self.backend.no_truncation()
        return [len(ids) - prefix for ids in self._token_ids(self.spec.with_prefix(texts, role))]

    def _token_ids(self, texts: list[str]) -> list[Tokens]:
        self.backend.no_padding()
        tokens: list[Tokens] = []
        for start in range(0, len(texts), TOKENIZED_AT_ONCE):
            encoded = self.backend.encode_batch_fast(texts[start : start + TOKENIZED_AT_ONCE])
            tokens += [np.array(text.ids, dtype=np.int32) for text in encoded]
        return tokens


def tokenize_queries(
    tokenizer: Tokenizer, queries: Sequence[Query], prompts: Sequence[str] | None
) -> list[Tokens]:
    """Token ids of each training query, after the prompt of its source.

    Args:
        prompts: one per source, which replaces the encoder's query prefix; None keeps that.
    """
    if prompts is None:
        return tokenizer.tokenize([query.text for query in queries], "query")
    tokens: dict[int, Tokens] = {}
    for source, prompt in enumerate(prompts, start=1):
        rows = [row for row, query in enumerate(queries) if query.mixture_source == source]
        with_prompt = Tokenizer(tokenizer.backend, replace(tokenizer.spec, query_prefix=prompt))
        of_source = with_prompt.tokenize([queries[row].text for row in rows], "query")
        tokens.update(zip(rows, of_source, strict=True))
    return [tokens[row] for row in range(len(queries))]


def padded(tokens: list[Tokens], padding: int) -> tuple[np.ndarray, np.ndarray]:
    """B texts -> (B, T) int64 token ids, padded on the right, and (B, T) int64 mask.

    A text of no tokens gets one of padding: some tokenizers add no special token to an empty text.
    """
    input_ids = np.full((len(tokens), max([1, *map(len, tokens)])), padding)
    mask = np.zeros_like(input_ids)
    mask[:, 0] = 1
    for row, ids in enumerate(tokens):
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return input_ids, mask


def token_batches(tokens: list[Tokens], batch_tokens: int) -> Iterator[list[int]]:
    """Rows of texts in batches of similar length, longest first.

    A batch holds at most `batch_tokens` tokens, padding included, but at least one text.
    """
    order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
    while order:
        size = max(1, batch_tokens // max(1, len(tokens[order[0]])))
        yield order[:size]
        order = order[size:]


def set_case(backend: tokenizers.Tokenizer, spec: EncoderSpec) -> None:
    """Let a tokenizer lower-case its texts first, if the spec says so.

    transformers drops the normalizer that was put before the tokenizer's own.
    """
    own = backend.normalizer
    first = own[0] if isinstance(own, normalizers.Sequence) and len(own) else own
    if spec.lower_case and not isinstance(first, normalizers.Lowercase):
        backend.normalizer = normalizers.Sequence(
            [normalizers.Lowercase(), *([own] if own else [])]
        )


def added_around(backend: tokenizers.Tokenizer) -> tuple[list[str], list[str]]:
    """The special tokens that a tokenizer puts before and after a text."""
    encoded = backend.encode("a")
    added = encoded.special_tokens_mask
    first, last = added.index(0), len(added) - added[::-1].index(0)
    return encoded.tokens[:first], encoded.tokens[last:]


def add_around(
    backend: tokenizers.Tokenizer, bos: str | None = None, eos: str | None = None
) -> None:
    """Begin and end each text with these tokens, unless the tokenizer does; truncation keeps them.

    This replaces the post-processor: a second one would not see the tokens of the first.
    tokenizer.json keeps it.
    """
    before, after = added_around(backend)
    first = [bos] if bos and before[:1] != [bos] else []
    last = [eos] if eos and after[-1:] != [eos] else []
    if not (first or last):
        return
    tokens = {*first, *before, *after, *last}
    backend.post_processor = TemplateProcessing(
        single=[*first, *before, "$A", *after, *last],
        special_tokens=[(token, backend.token_to_id(token)) for token in tokens],
    )
