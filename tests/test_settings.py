"""params.yaml as it is read: what is refused, and what the rounds of training take from it."""

import re
import shutil

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from helpers import ROOT, write_params

from dpr.base.errors import InputError
from dpr.settings import ROUNDS, load_settings

PARAMS = ROOT / "params.yaml"


@pytest.fixture
def edited(tmp_path):
    """edited("lr: 1e-4", "lr: 1") -> params.yaml with that text replaced."""

    def edit(old, new):
        text = PARAMS.read_text()
        assert len(re.findall(re.escape(old), text)) == 1
        (tmp_path / "params.yaml").write_text(text.replace(old, new))
        return tmp_path / "params.yaml"

    return edit


@pytest.fixture
def load(tmp_path):
    """load({"train.lr": 1}) -> settings with these values; one round, unless asked."""
    return lambda changes: load_settings(write_params(tmp_path / "params.yaml", changes))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr: 1e-4", "lr: fast", r"train\.lr: .*number \(got 'fast'\)"),
        ("lr: 1e-4", "lr: -1", r"train\.lr: .*greater than 0 \(got -1\)"),
        ("lr: 1e-4", "lr: .nan", r"train\.lr: .*finite"),
        ("lr: 1e-4", "lr: true", r"train\.lr: .*number \(got True\)"),
        ("lr: 1e-4", "lr:", r"train\.lr: .*number \(got None\)"),
        ("lr: 1e-4", "rate: 1", r"train\.lr: missing(.|\n)*train\.rate: unknown key \(.* lr,"),
        ("batch_size: 64 ", "batch_size: 1e1 ", r"train\.batch_size: .*integer \(got 10\.0\)"),
        ("batch_size: 64 ", "batch_size: 1 ", r"train\.batch_size: .*greater than or equal to 2"),
        ("pooling: null", "pooling: sum", r"model\.pooling: .*'cls', 'mean'.*got 'sum'"),
        ("tied: null", "tied: yes", r"model\.tied: .*boolean \(got 'yes'\)"),
        ("similarity: null", "similarity: cos", r"similarity: .*'cosine', 'dot', 'l2' or 'l1'"),
        ("prompts: null", "prompts: [a, b]", r"data: prompts has 2 texts, but train has 1 so"),
        ("prompts: null", "prompts: []", r"data: prompts has 0 texts, but train has 1 so"),
        ("prompts: null", "prompts: [1]", r"data\.prompts\.0: .*string \(got 1\)"),
        ("min_relevant: 10", "min_relevant: 300", r"data\.medline: min_relevant is above"),
        ("test_share: 0.2", "test_share: 0.95", r"data\.medline: .*nothing to train on"),
        ("test_topics: 200", "test_topics: 7", r"data\.medline\.test_topics: .*multiple of 2"),
        ("RR@10, ", "RR@ten, ", r"eval\.measures: 'RR@ten' cannot be computed"),
        ("RR@10, ", "P, ", r"eval\.measures: 'P' cannot be computed"),
        ("RR@10, ", "P@10, ", r"eval\.measures: a measure is listed twice"),
        ("threads: null", "thread: 2", r"thread: unknown key \(known here: similarity, seed, th"),
        ("kind: flat", "kind: [flat", r"not valid YAML"),
        ("threads: null", "threads: 2\nthreads: 3", r"not valid YAML"),
    ],
)
def test_a_bad_value_is_named(edited, old, new, message):
    with pytest.raises(InputError, match=message) as caught:
        load_settings(edited(old, new))
    assert "params.yaml" in str(caught.value)


def test_a_missing_or_empty_file(tmp_path):
    path = tmp_path / "params.yaml"
    with pytest.raises(InputError, match="no such file"):
        load_settings(path)
    path.write_text("")
    with pytest.raises(InputError, match="the file"):
        load_settings(path)


def test_a_rate_as_dvc_writes_it_is_a_number(edited):
    """`dvc exp run -S train.lr=3e-5` writes 3e-05, which YAML 1.1 (PyYAML) reads as text."""
    path = edited("lr: 1e-4", "lr: 3e-05")
    assert yaml.safe_load(path.read_text())["train"]["lr"] == "3e-05"
    assert load_settings(path).train.lr == 3e-5


MINES = {"mine.encoder.use": True}
SECOND = {"second.use": True, "second.mine": {}, "second.train": {}}
TAUGHT = {"teacher.scores": "fusion", "train.teacher_share": 0.5}
LATER = {"teacher.scores": "cross-encoder:c", "second.train": {"teacher_share": 1}}
LEARNS = {"teacher.scores": "cross-encoder:trained"}
FEEDBACK = {"search.feedback.method": "mean"}
RESCORED = {"search.ef_search": 1500, "index.kind": "hnsw"}
NO_PART = "set teacher.scores and one of the other two, or none of the three"


def second(**changes):
    return SECOND | {f"second.{key}": value for key, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.epochs": 2}, "train: give one of max_steps and epochs"),
        ({"train.max_steps": None}, "train: give one of max_steps and epochs"),
        ({"train.group_by": None, "train.pairs_per_group": 2}, "train: pairs_per_group needs"),
        ({"train.overfit_one_batch": True, "train.max_steps": 0}, "train: overfit_one_batch needs"),
        ({"train.lora_rank": 8}, "train: lora_rank excludes initial_share"),
        ({"train.temperature_lr": 0.1, "train.temperature": 0.001}, "train: a learned temperature"),
        ({"model.query_prefix": "a", "model.query_prompt": "b"}, "query_prompt names a text"),
        ({"train.valid_measure": "recall@500"}, r"valid_measure recall@500 looks at all of the"),
        ({"search.top_k": 100}, r"eval\.measures: recall@1000 is deeper than search\.top_k 100"),
        ({"search.ef_search": 99, "index.kind": "hnsw"}, r"search\.ef_search 99 is below the 1000"),
        ({"search.ef_search": 99, "index.kind": "HNSW16"}, r"search\.ef_search 99 is below"),
        (RESCORED | {"search.rescore": 2000}, r"search\.ef_search 1500 is below the 2000"),
        ({"search.rescore": 999}, r"search\.rescore 999 is below search\.top_k 1000"),
        ({"rerank.model": "m", "rerank.depth": 1001}, r"rerank\.depth 1001 is deeper than search"),
        ({"rerank.run": "reranked"}, r"rerank\.run: .*'hybrid' \(got 'reranked'\)"),
        ({"rerank.revision": "v2"}, r"rerank\.revision is that of a hub's rerank\.model: set it"),
        ({"teacher.revision": "v2"}, r"teacher\.revision is that of a hub's cross-encoder: set it"),
        ({"teacher.revision": "v2", **LEARNS}, r"teacher\.revision is that of a hub's cross-enc"),
        ({"rerank.train.passages": 1}, r"rerank\.train\.passages: .*greater than or equal to 2"),
        (TAUGHT | MINES | LEARNS, "no cross-encoder is trained here: set rerank.model to trained"),
        (FEEDBACK | {"search.feedback.passages": 1001}, r"feedback\.passages 1001 is above"),
        (FEEDBACK | {"search.feedback.passages": 0}, r"feedback\.passages: .*or equal to 1"),
        ({"search.feedback.method": "avg"}, r"feedback\.method: .*'mean' or 'rocchio' \(got 'avg'"),
        ({"search.feedback.alpha": -0.1}, r"search\.feedback\.alpha: .*greater than or equal to 0"),
        ({"search.feedback.beta": 0.0}, r"search\.feedback\.beta: .*greater than 0"),
        ({"bm25.rm3.weight": 1.1}, r"bm25\.rm3\.weight: .*less than or equal to 1"),
        ({"bm25.rm3.weight": -0.1}, r"bm25\.rm3\.weight: .*greater than or equal to 0"),
        ({"bm25.rm3.terms": 0}, r"bm25\.rm3\.terms: .*greater than or equal to 1"),
        ({"bm25.rm3": None}, r"bm25\.rm3: "),
        ({"model.query_revision": "a"}, "model: query_revision is given, but no query_name"),
        ({"mine.encoder.first_rank": 101}, r"mine\.encoder: first_rank is above last_rank"),
        (MINES | {"train.hard_negatives": 0}, r"mine\.\*\.use is true, but train\.hard_negatives"),
        (MINES | {"mine.encoder.relative_margin": 1.0}, r"mine\.encoder\.relative_margin: .*less"),
        (MINES | {"mine.encoder.margin": -0.1}, r"mine\.encoder\.margin: .*greater"),
        ({"teacher.scores": "fusion"}, NO_PART),
        ({"train.teacher_share": 0.5}, NO_PART),
        ({"teacher.margin": 0.1}, NO_PART),
        ({"teacher.scores": "fusoin", "train.teacher_share": 0.5}, r"teacher\.scores: must be "),
        ({"teacher.scores": "file:", "train.teacher_share": 0.5}, r"teacher\.scores: must be "),
        ({"teacher.scores": "cross-encoder:m", "teacher.margin": 0.1}, "a cross-encoder scores"),
        (second(train={"learning_rate": 1}), r"second\.train\.learning_rate: "),
        (second(train={"lr": True}), r"second\.train\.lr: .*number"),
        (second(train={"batch_size": 8.0}), r"second\.train\.batch_size: .*integer"),
        (second(train={"epochs": 2, "max_steps": 3}), r"second\.train: give one of max_steps and"),
        (second(lr_ratio=0), r"second\.lr_ratio: .*greater than 0"),
        (second(mine={"dense": {}}), r"second\.mine\.dense: "),
        (second(mine={"encoder": None}), r"second\.mine\.encoder: "),
        (second(mine={"bm25": {"k2": 1}}), r"second\.mine\.bm25\.k2: "),
        (second(mine=None), r"second\.mine: .*dictionary"),
        (MINES | second(train={"hard_negatives": 0}), "second.*hard_negatives is 0"),
    ],
)
def test_values_that_do_not_go_together(load, changes, message):
    with pytest.raises(InputError, match=message):
        load(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"index.kind": "OPQ96,IVF256,PQ96"},  # factory strings of FAISS
        {"index.kind": "HNSW32_PQ48"},
        {"train.valid_measure": "recall@499"},
        {"train.valid_measure": "recall@1000", "train.valid_passages": None},
        FEEDBACK | {"search.feedback.passages": 1000},
        {"search.feedback.passages": 1001},  # no method
        {"second.train": {"lr": "no"}, "second.mine": {"x": 1}},  # second.use is false
    ],
)
def test_values_that_go_together(load, changes):
    load(changes)


OVERRIDES = [
    # the text after -S, the value that it means
    (r'model.query_prefix="Instruct: find it\nQuery:"', "Instruct: find it\nQuery:"),
    (r"model.query_prefix=Instruct\nQuery", "Instruct\nQuery"),
    ('model.query_prefix="Instruct: a\nQuery:"', "Instruct: a\nQuery:"),  # $'...' of the shell
    ("model.query_prefix=query: ", "query: "),
    ('model.query_prefix="it\'s {1}, [2] (3) = é ~ # & !"', "it's {1}, [2] (3) = é ~ # & !"),
    (r'data.prompts=["a\tb: "]', ["a\tb: "]),
    ('data.separator=" "', " "),
    (r"data.separator=\n", "\n"),
    ('data.collection="beir:/a/é ~(1),b=c"', "beir:/a/é ~(1),b=c"),
    ('data.collection="beir:/a/it\'s"', "beir:/a/it's"),
    (r"data.collection=beir:C:\new\train", r"beir:C:\new\train"),  # no text that is encoded
]
EMPTY = [(f"data.separator={text}", None) for text in (" ", "", '""')]


@pytest.mark.parametrize(("override", "meant"), OVERRIDES + EMPTY)
def test_a_text_from_the_command_line_is_what_a_person_means(tmp_path, override, meant):
    """As DVC writes it into params.yaml; a separator that DVC makes empty is refused."""
    path = tmp_path / "params.yaml"
    shutil.copy(PARAMS, path)
    apply_overrides(path, [override])
    group, key = override.split("=")[0].split(".")
    if meant is None:
        with pytest.raises(InputError, match="data: separator is empty, which would glue titles"):
            load_settings(path)
    else:
        assert getattr(getattr(load_settings(path), group), key) == meant


def test_the_second_round_takes_the_settings_of_the_first_and_its_own(load):
    changes = {"mine": {"encoder": {"use": True, "margin": 0.1}}, "train": {"epochs": 2}}
    settings = load(second(**changes))
    assert (settings.mine_settings("first"), settings.train_settings("first")) == (
        settings.mine,
        settings.train,
    )
    mine, train = settings.mine_settings("second"), settings.train_settings("second")
    encoder = settings.mine.encoder.model_copy(update={"use": True, "margin": 0.1})
    assert mine == settings.mine.model_copy(update={"encoder": encoder})
    own = {"lr": settings.train.lr / 2, "epochs": 2, "max_steps": None}
    assert train == settings.train.model_copy(update=own)
    assert load(second(train={"lr": 0.1})).train_settings("second").lr == 0.1


def test_the_keys_that_differ_by_default_are_named():
    """All other keys of `train` act on both rounds."""
    own = {"roles", "max_steps", "symmetric", "initial_share", "valid_passages"}
    assert set(load_settings(PARAMS).second_overrides()) == own


@pytest.mark.parametrize(
    ("changes", "mines", "needs_vectors"),
    [
        ({}, "", ""),
        ({"mine.bm25.use": True}, "first", ""),
        (MINES, "first", "first"),
        ({"train.roles": "query"}, "", "first"),
        (TAUGHT, "first", "first"),
        ({"teacher.scores": "file:f", "teacher.margin": 0.1}, "first", ""),
        (SECOND, "", ""),
        (second(mine={"encoder": {"use": True}}), "second", "second"),
        (MINES | second(mine={"encoder": {"use": False}}), "first", "first"),
        (second(train={"roles": "query"}), "", "second"),
        (TAUGHT | SECOND, "first second", "first second"),
        (second(mine={"encoder": {"use": True}}) | LATER, "second", "second"),
        (second(train={"roles": "query", "max_steps": 0}), "", ""),
        (TAUGHT | MINES | {"train.max_steps": 0}, "", ""),
    ],
)
def test_which_rounds_mine_and_need_vectors(load, changes, mines, needs_vectors):
    settings = load(changes)
    assert [name for name in ROUNDS if settings.mines(name)] == mines.split()
    assert [name for name in ROUNDS if settings.needs_vectors(name)] == needs_vectors.split()


@pytest.mark.parametrize(
    ("changes", "pairs", "queries", "message"),
    [
        (
            {},
            63,
            63,
            "params.yaml: train.batch_size: larger .* there are only 63 training pairs of 63 "
            "queries: set -S train.batch_size=32",
        ),
        ({}, 640, 50, "train.batch_size: .* only 640 .* of 50 .*set -S train.batch_size=32"),
        (  # all keys at once
            second(train={"batch_size": 9}),
            8,
            8,
            "train.batch_size and second.train.batch_size: .* only 8 .*: "
            "set -S train.batch_size=8 -S second.train.batch_size=8$",
        ),
        (
            {"train.batch_size": 8} | second(train={"batch_size": 64}),
            8,
            8,
            "params.yaml: second.train.batch_size: .*: set -S second.train.batch_size=8$",
        ),
        ({}, 1, 1, "too few to train: set train.max_steps=0"),
    ],
)
def test_training_pairs_fill_a_batch_of_each_round(load, changes, pairs, queries, message):
    settings = load(changes)
    with pytest.raises(InputError, match=message):
        settings.require_batches(pairs, queries)
    settings.require_batches(64, 64)
    load(changes | {"train.max_steps": 0}).require_batches(0, 0)
    load(changes | {"train.group_by": None, "train.batch_size": 8}).require_batches(64, 1)


def test_the_cure_of_an_encoder_without_a_transformer_can_be_set(tmp_path):
    train = load_settings(PARAMS).train.model_copy(update={"freeze_layers": 0.5, "lora_rank": 8})
    with pytest.raises(InputError) as refused:
        train.require_transformer()
    cures = re.findall(r"-S (\S+)=(\S+)", str(refused.value))
    assert [key for key, _ in cures] == [
        *["train.freeze_embeddings", "train.freeze_layers", "train.lora_rank"]
    ]
    changes = {key: yaml.safe_load(value) for key, value in cures}
    load_settings(write_params(tmp_path / "params.yaml", changes)).require_encoder(False)
