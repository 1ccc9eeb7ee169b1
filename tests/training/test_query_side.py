"""Training the query encoder alone, against the vectors of all passages."""

import itertools

import numpy as np
import pytest
import torch
from helpers import contents
from sentence_transformers import SentenceTransformer
from torch.nn import functional
from training_helpers import Killed, dies_at, embedded, fixed_passages

from dpr.base.errors import InputError
from dpr.encoders import checkpoint
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Passage
from dpr.training import parameters

TEMPERATURE = 0.1


@pytest.fixture
def with_duplicates(collection):
    """The collection with copies of some passages that are relevant to q0, q1 and q2."""
    passages = list(beir.read_passages(collection))
    copies = [Passage(f"e{i}", "", contents(passages[i])) for i in (0, 1, 2, 12)]
    beir.write_passages(collection, [*passages[:30], *copies, *passages[30:]])
    return collection


def query_ids(folder):
    """The ids of the training queries, by row."""
    used = {pair.query_id for pair in beir.read_pairs(folder)}
    return [query_id for query_id in beir.read_queries(folder) if query_id in used]


def no_negatives(folder, query_id):
    """The rows of passages that are relevant to a query, or have the text of one that is."""
    relevant = beir.read_qrels(folder, "train")[query_id]
    texts = dict(Corpus(folder, ". ").texts())
    answers = {texts[passage_id] for passage_id, grade in relevant.items() if grade > 0}
    return {row for row, text in enumerate(texts.values()) if text in answers}


def brute_force_loss(encoder, folder, batch):
    """The softmax over the passages of a batch, those above left out, in float64.

    The passages of no pair are a sample of all such, and stand for them.
    """
    queries, texts = beir.read_queries(folder), dict(Corpus(folder, ". ").texts())
    vectors = embedded(encoder, list(texts.values()), "passage").astype(np.float64)
    columns = batch.targets.passage_ids
    of_pairs = {columns[column] for column in batch.targets.pairs[:, 1].tolist()}
    stands_for = (len(texts) - len(of_pairs)) / (len(columns) - len(of_pairs))
    total = 0.0
    for row, column in batch.targets.pairs.tolist():
        query_id = query_ids(folder)[batch.targets.query_ids[row]]
        query = embedded(encoder, [queries[query_id].text], "query")[0].astype(np.float64)
        own, left_out = columns[column], no_negatives(folder, query_id)
        negatives = [p for p in columns if p not in left_out]
        scores = vectors[[own, *negatives]] @ query / TEMPERATURE
        weights = [1, *(1 if p in of_pairs else stands_for for p in negatives)]
        total += np.log(weights @ np.exp(scores)) - scores[0]
    return total / len(batch.targets.pairs)


@pytest.mark.parametrize("at_most", [None, 63, 20])
def test_the_loss_is_a_softmax_over_all_passages(with_duplicates, make_query_side, at_most):
    trainer = make_query_side(at_most, temperature=TEMPERATURE)
    (batch,) = itertools.islice(trainer.pairs.batches(seed=1), 1)
    if at_most in (None, 63):  # with those of the pairs, 63 are all
        assert batch.targets.passage_ids == list(range(64))
    else:
        assert len(batch.targets.passage_ids) < 64
    expected = brute_force_loss(trainer.encoder, with_duplicates, batch)
    assert trainer.step(1, [batch]).loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_its_gradient_is_that_of_plain_pytorch(
    with_duplicates, make_query_side, make_encoder, chunk_size
):
    trainer = make_query_side(temperature=TEMPERATURE, max_grad_norm=1e9, chunk_size=chunk_size)
    (batch,) = itertools.islice(trainer.pairs.batches(seed=1), 1)
    reference = make_encoder()
    texts = [text for _, text in Corpus(with_duplicates, ". ").texts()]
    vectors = torch.from_numpy(embedded(reference, texts, "passage"))
    names = query_ids(with_duplicates)
    terms = []
    for row, own in batch.targets.pairs.tolist():  # here a column is a row of the collection
        query_id = names[batch.targets.query_ids[row]]
        text = beir.read_queries(with_duplicates)[query_id].text
        scores = reference(reference.tokenize([text], "query"), "query") @ vectors.T / TEMPERATURE
        left_out = sorted(no_negatives(with_duplicates, query_id) - {own})
        scores[0, left_out] = -torch.inf
        terms.append(functional.cross_entropy(scores, torch.tensor([own])))
    torch.stack(terms).mean().backward()
    trainer.step(1, [batch])
    expected = {n: p.grad for n, p in reference.query.named_parameters() if p.grad is not None}
    trained = {n: p.grad for n, p in trainer.encoder.query.named_parameters() if p.grad is not None}
    assert trained.keys() == expected.keys()
    for name, gradient in trained.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-4)
    assert max(gradient.abs().max() for gradient in trained.values()) > 1e-2
    assert all(p.grad is None for p in trainer.encoder.passage.parameters())


def test_beyond_so_many_passages_each_step_draws_a_sample(make_query_side):
    """Each has the pairs' passages and `at_most` different ones; the seed decides which."""
    trainer = make_query_side(20)
    vectors = np.array(trainer.pairs.passages.embeddings.vectors)
    batches = list(itertools.islice(trainer.pairs.batches(0), 40))
    for batch in batches:
        rows = batch.targets.passage_ids
        own = {rows[column] for column in batch.targets.pairs[:, 1].tolist()}
        assert len(set(rows)) == len(rows) == 20 + len(own)
        np.testing.assert_array_equal(batch.passages.numpy(), vectors[rows])
    samples = [batch.targets.passage_ids for batch in batches]
    assert samples[0] != samples[3] and set().union(*samples) == set(range(60))
    again, different = (
        next(make_query_side(20, seed=seed).pairs.batches(0)).targets.passage_ids for seed in (0, 1)
    )
    assert samples[0] == again != different


@pytest.mark.parametrize("change", ["a different id", "a different order", "one more", "one less"])
def test_vectors_of_other_passages_are_refused(make_encoder, make_trainer, collection, change):
    fixed = fixed_passages(make_encoder(), collection)
    passages = list(beir.read_passages(collection))
    changed = {
        "a different id": [*passages[:-1], passages[-1]._replace(id="other")],
        "a different order": [passages[1], passages[0], *passages[2:]],
        "one more": [*passages, Passage("other", "", "text")],
        "one less": passages[:-1],
    }
    beir.write_passages(collection, changed[change])
    with pytest.raises(InputError, match=r"corpus\.jsonl: not the passages that have vectors"):
        make_trainer(roles="query", reading={"fixed": fixed})


# --- whole trainings


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
    loaded = SentenceTransformer(str(after), device="cpu")
    untrained = embedded(make_encoder(tied=tied), texts, "passage")
    np.testing.assert_allclose(loaded.encode_document(texts), untrained, atol=2e-6)
    queries = embedded(trainer.encoder, texts, "query")
    np.testing.assert_allclose(loaded.encode_query(texts), queries, atol=2e-6)
    assert np.abs(queries - embedded(make_encoder(tied=tied), texts, "query")).max() > 1e-2


def test_both_roles_need_no_second_encoder(make_encoder):
    encoder = make_encoder()
    assert parameters.for_roles(encoder, "both") is encoder
    one = parameters.for_roles(encoder, "query")
    assert one.passage.backbone is encoder.passage.backbone is not one.query.backbone
    assert encoder.spec.tied


def test_a_killed_training_of_queries_ends_with_the_same_bytes(make_query_side, tmp_path):
    chosen = {"at_most": 20, "dropout": 0.1, "ema": 0.8}
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
