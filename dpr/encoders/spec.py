"""All that decides a vector besides the weights: it is saved with encoder and embeddings."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Role = Literal["query", "passage"]


@dataclass(frozen=True)
class EncoderSpec:
    """Lengths are in tokens, with [CLS] and [SEP]; a prefix goes before each text of its role."""

    similarity: str
    pooling: str
    tied: bool
    query_max_length: int
    passage_max_length: int
    query_prefix: str = ""
    passage_prefix: str = ""

    def max_length(self, role: Role) -> int:
        return self.query_max_length if role == "query" else self.passage_max_length

    def with_prefix(self, texts: list[str], role: Role) -> list[str]:
        prefix = self.query_prefix if role == "query" else self.passage_prefix
        return [prefix + text for text in texts]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
