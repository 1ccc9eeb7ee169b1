"""Training the query encoder alone, against the vectors of all passages."""

import itertools

import numpy as np
import pytest
import torch
from helpers import contents
from sentence_transformers import SentenceTransformer
from training_helpers import embedded, fixed_passages, gradients_of, require_close

from dpr.base.errors import InputError
from dpr.encoders import checkpoint
from dpr.encoders.spec import read_spec
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


@pytest.mark.parametrize(
    ("at_most", "chunk_size"), [(None, None), (None, 2), (63, None), (20, None)]
)
def test_a_step_is_that_of_a_softmax_over_all_passages(
    with_duplicates, make_query_side, make_encoder, at_most, chunk_size
):
    """Loss and gradient by plain PyTorch. A sampled passage stands for several of no pair."""
    chosen = {"temperature": TEMPERATURE, "max_grad_norm": 1e9, "chunk_size": chunk_size}
    trainer, reference = make_query_side(at_most, **chosen), make_encoder()
    (batch,) = itertools.islice(trainer.pairs.batches(seed=1), 1)
    columns = batch.targets.passage_ids
    assert (columns == list(range(64))) == (at_most != 20)  # with those of the pairs, 63 are all
    texts = [text for _, text in Corpus(with_duplicates, ". ").texts()]
    vectors = torch.from_numpy(embedded(reference, texts, "passage"))
    of_pairs = {columns[column] for column in batch.targets.pairs[:, 1].tolist()}
    stands_for = (len(texts) - len(of_pairs)) / (len(columns) - len(of_pairs))
    names, queries, terms = query_ids(with_duplicates), beir.read_queries(with_duplicates), []
    for row, column in batch.targets.pairs.tolist():
        query_id = names[batch.targets.query_ids[row]]
        left_out = no_negatives(with_duplicates, query_id)
        negatives = [p for p in columns if p not in left_out]
        query = reference(reference.tokenize([queries[query_id].text], "query"), "query")[0]
        scores = vectors[[columns[column], *negatives]] @ query / TEMPERATURE
        weights = torch.tensor([1.0, *(1.0 if p in of_pairs else stands_for for p in negatives)])
        terms.append((weights * scores.exp()).sum().log() - scores[0])
    expected = torch.stack(terms).mean()
    expected.backward()
    assert trainer.step(1, [batch]).loss == pytest.approx(expected.item(), rel=1e-5)
    trained = gradients_of(trainer.encoder.query)
    require_close(trained, gradients_of(reference.query), rtol=1e-4)
    assert max(gradient.abs().max() for gradient in trained.values()) > 1e-2
    assert not gradients_of(trainer.encoder.passage)


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
        modules = read_spec(folder).side(role).modules
        return (folder / modules[0] / "model.safetensors").read_bytes()

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
    assert one.passage is encoder.passage
    assert one.query.transformer is not encoder.query.transformer
    assert encoder.spec.tied
