"""Whole trainings of the query encoder alone: what they leave, killed or in two processes."""

import json

import numpy as np
import pytest
import torch
from helpers import rising, settings, two_processes
from sentence_transformers import SentenceTransformer
from training_helpers import Killed, dies_at, embedded, fixed_passages

from dpr.embeddings.artifact import Embeddings
from dpr.encoders import checkpoint
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.training import parameters
from dpr.training.pairs import PairSet
from dpr.training.passages import FixedPassages
from dpr.training.trainer import Trainer


@pytest.mark.parametrize("tied", [True, False])
def test_the_passage_side_stays_byte_for_byte(make_query_side, make_encoder, tmp_path, tied):
    before, after = tmp_path / "before", tmp_path / "after"
    checkpoint.save(make_encoder(tied=tied), before)
    trainer = make_query_side(tied=tied, ema=0.5, initial_share=0.3, dropout=0.1)
    own = {name: p.numel() for name, p in trainer.encoder.query.named_parameters()}
    trained = sum(count for name, count in own.items() if "pooler" not in name)
    assert trainer.counts == {"all": 2 * sum(own.values()), "trained": trained}
    trainer.run()
    checkpoint.save(trainer.encoder, after)
    assert not trainer.encoder.spec.tied
    side = "passage_side.json"
    assert (before / side).read_bytes() == (after / side).read_bytes()

    def weights(folder, role):
        inside = folder / role if (folder / role).is_dir() else folder
        return (inside / "model.safetensors").read_bytes()

    assert weights(before, "passage") == weights(after, "passage")
    assert weights(before, "query") != weights(after, "query")
    texts = ["heart", "a study of the lung"]
    theirs = SentenceTransformer(str(after), device="cpu")
    untrained = embedded(make_encoder(tied=tied), texts, "passage")
    np.testing.assert_allclose(theirs.encode_document(texts), untrained, atol=2e-6)
    queries = embedded(trainer.encoder, texts, "query")
    np.testing.assert_allclose(theirs.encode_query(texts), queries, atol=2e-6)
    assert np.abs(queries - embedded(make_encoder(tied=tied), texts, "query")).max() > 1e-2


def test_both_roles_need_no_second_encoder(make_encoder):
    encoder = make_encoder()
    assert parameters.for_roles(encoder, "both") is encoder
    one = parameters.for_roles(encoder, "query")
    assert one.passage.backbone is encoder.passage.backbone is not one.query.backbone
    assert encoder.spec.tied


@pytest.mark.parametrize("at_most", [None, 20])
def test_a_killed_training_of_queries_ends_with_the_same_bytes(make_query_side, tmp_path, at_most):
    chosen = {"at_most": at_most, "dropout": 0.1, "ema": 0.8}
    undisturbed = make_query_side(**chosen)
    expected = undisturbed.run()
    file = tmp_path / "snapshot.safetensors"
    killed = make_query_side(snapshot=file, save_every=2, **chosen)
    dies_at(killed, 5)
    with pytest.raises(Killed):
        killed.run()
    torch.manual_seed(99)
    second = make_query_side(snapshot=file, save_every=2, **chosen)
    assert second.run() == expected
    weights = undisturbed.encoder.state_dict()
    for name, tensor in second.encoder.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


WORKER = """
import json
import tempfile
from pathlib import Path
from dpr.base import runtime
from dpr.encoders import checkpoint
from dpr.base.processes import ProcessGroup
from test_query_side_runs import trained_alone

runtime.set_up(threads=1, seed=0)
processes = ProcessGroup.join(runtime.device())
assert processes.size == 2
work = Path(tempfile.mkdtemp(dir={folder!r}))
steps = trained_alone({encoder!r}, Path({folder!r}), work, processes)
Path({folder!r}, f"losses-{{processes.rank}}.json").write_text(json.dumps(steps))
processes.leave()
"""


def trained_alone(encoder, folder, work, *processes):
    """The losses and gradient norms of a training in so many processes."""
    loaded, chosen = checkpoint.load(encoder), settings(roles="query", max_steps=4, dropout=0.0)
    ids = [passage_id for passage_id, _ in Corpus(folder, ". ").texts()]
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    fixed = FixedPassages(Embeddings(vectors, ids, {}), 30, 0)
    loaded = parameters.for_roles(loaded, "query")
    listed, corpus = beir.read_pairs(folder), Corpus(folder, ". ")
    pairs = PairSet.read(corpus, listed, loaded, chosen, work, fixed)
    history = Trainer(loaded, pairs, rising, chosen, 0, *processes).run()
    return [(step.loss, step.gradient_norm) for step in history.steps]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(make_encoder, collection, tmp_path):
    encoder, work = str(tmp_path / "encoder"), tmp_path / "work"
    checkpoint.save(make_encoder(), encoder)
    fixed_passages(make_encoder(), collection)
    work.mkdir()
    alone = np.array(trained_alone(encoder, collection, work))
    assert len(set(alone[:, 0])) == 4
    two_processes(tmp_path / "worker.py", WORKER, folder=str(collection), encoder=encoder)
    for rank in (0, 1):
        together = json.loads((collection / f"losses-{rank}.json").read_text())
        np.testing.assert_allclose(together, alone, rtol=1e-3)
