import re
import shutil

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from helpers import ROOT, write_params

from dpr.base.errors import InputError
from dpr.settings import load_settings

PARAMS = ROOT / "params.yaml"


@pytest.fixture
def changed(tmp_path):
    """changed("lr: 1e-4", "lr: 1") -> a params file with that text replaced."""

    def change(old, new):
        text = PARAMS.read_text()
        assert len(re.findall(re.escape(old), text)) == 1
        path = tmp_path / "params.yaml"
        path.write_text(text.replace(old, new))
        return path

    return change


def test_params_yaml_is_valid():
    settings = load_settings(PARAMS)
    assert settings.similarity == "cosine"
    assert settings.train.batch_size == 64


def test_a_rate_as_dvc_writes_it_is_a_number(changed):
    # `dvc exp run -S train.lr=3e-5` writes 3e-05, which YAML 1.1 (PyYAML) reads as text.
    path = changed("lr: 1e-4", "lr: 3e-05")
    assert yaml.safe_load(path.read_text())["train"]["lr"] == "3e-05"
    assert load_settings(path).train.lr == 3e-5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr: 1e-4", "lr: fast", r"train\.lr: .*number \(got 'fast'\)"),
        ("lr: 1e-4", "lr: -1", r"train\.lr: .*greater than 0 \(got -1\)"),
        ("lr: 1e-4", "lr: .nan", r"train\.lr: .*finite"),
        ("lr: 1e-4", "lr: true", r"train\.lr: .*number \(got True\)"),
        ("lr: 1e-4", "lr:", r"train\.lr: .*number \(got None\)"),
        ("lr: 1e-4", "learning_rate: 1", r"train\.learning_rate: unknown key \(known.* lr,"),
        ("lr: 1e-4", "learning_rate: 1", r"train\.lr: missing"),
        ("batch_size: 64 ", "batch_size: 1e1 ", r"train\.batch_size: .*integer \(got 10\.0\)"),
        ("batch_size: 64 ", "batch_size: 1 ", r"train\.batch_size: .*greater than or equal to 2"),
        ("patience: 4", "patience: never", r"train\.patience: .*integer"),
        ("pooling: mean", "pooling: sum", r"model\.pooling: .*'cls', 'mean'.*got 'sum'"),
        ("tied: true", "tied: yes", r"model\.tied: .*boolean \(got 'yes'\)"),
        ("similarity: cosine", "similarity: cos", r"similarity: .*'cosine', 'dot', 'l2' or 'l1'"),
        ("min_lr_ratio: 0.05", "min_lr_ratio: 0", r"train\.min_lr_ratio: .*greater than 0"),
        ("prompts: null", "prompts: [a, b]", r"data: prompts has 2 texts, but train has 1 so"),
        ("prompts: null", "prompts: []", r"data: prompts has 0 texts, but train has 1 so"),
        ("prompts: null", "prompts: [1]", r"data\.prompts\.0: .*string \(got 1\)"),
        ("min_relevant: 10", "min_relevant: 300", r"data\.medline: min_relevant is above"),
        ("test_share: 0.2", "test_share: 0.95", r"data\.medline: .*nothing to train on"),
        ("test_topics: 200", "test_topics: 7", r"data\.medline\.test_topics: .*multiple of 2"),
        ("nDCG@10, ", "nDCG@ten, ", r"eval\.measures: 'nDCG@ten' cannot be computed"),
        ("kind: flat", "kind: flatt", r"index\.kind: neither of flat, ivf.* \(got 'flatt'\)"),
        ("[bm25, zero_shot]", "[bm24]", r"eval\.references\.0: .*'bm25', .* \(got 'bm24'\)"),
        ("overlap: refuse", "overlap: keep", r"data\.overlap: .*'refuse' or 'drop'"),
        ("RR@10, ", "RR@10, P, ", r"eval\.measures: 'P' cannot be computed"),
        ("RR@10, ", "RR@10, RR@10, ", r"eval\.measures: a measure is listed twice"),
        ("threads: null", "thread: 2", r"thread: unknown key \(known here: similarity, seed, th"),
        ("kind: flat", "kind: [flat", r"not valid YAML"),
        ("threads: null", "threads: 2\nthreads: 3", r"not valid YAML"),
    ],
)
def test_a_bad_value_is_named(changed, old, new, message):
    with pytest.raises(InputError, match=message) as caught:
        load_settings(changed(old, new))
    assert "params.yaml" in str(caught.value)


MINED = {"mine.bm25.use": True, "train.hard_negatives": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.epochs": 2}, "train: give one of max_steps and epochs"),
        ({"train.max_steps": None}, "train: give one of max_steps and epochs"),
        ({"train.group_by": None, "train.pairs_per_group": 2}, "train: pairs_per_group needs"),
        ({"train.overfit_one_batch": True, "train.max_steps": 0}, "train: overfit_one_batch needs"),
        ({"train.lora_rank": 8}, "train: lora_rank excludes initial_share"),
        ({"train.temperature_lr": 0.1, "train.temperature": 0.001}, "train: a learned temperature"),
        ({"mine.encoder.first_rank": 101}, r"mine\.encoder: first_rank is above last_rank"),
        ({"train.passage_max_length": 300}, r"train\.passage_max_length 300 is above model"),
        ({"search.top_k": 100}, r"eval\.measures: recall@1000 is deeper than search\.top_k 100"),
        ({"search.ef_search": 99, "index.kind": "hnsw"}, r"search\.ef_search 99 is below the 1000"),
        (
            {"search.ef_search": 1500, "search.rescore": 2000, "index.kind": "hnsw"},
            r"search\.ef_search 1500 is below the 2000",
        ),
        ({"search.ef_search": 99, "index.kind": "HNSW16"}, r"search\.ef_search 99 is below"),
        ({"search.rescore": 999}, r"search\.rescore 999 is below search\.top_k 1000"),
        ({"model.query_revision": "a"}, r"model: query_revision is given, but no query_name"),
        (MINED, r"mine\.\*\.use is true, but train\.hard_negatives is 0"),
    ],
)
def test_values_that_do_not_go_together(tmp_path, changes, message):
    path = write_params(tmp_path / "params.yaml", changes)
    with pytest.raises(InputError, match=message):
        load_settings(path)


@pytest.mark.parametrize("kind", ["OPQ96,IVF256,PQ96", "IVF256,SQ8", "HNSW32_PQ48", "PCA64,Flat"])
def test_a_factory_string_is_a_kind(tmp_path, kind):
    load_settings(write_params(tmp_path / "params.yaml", {"index.kind": kind}))


OVERRIDES = [
    # what follows -S, its key, and what is meant
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


@pytest.mark.parametrize(("override", "meant"), OVERRIDES)
def test_a_text_from_the_command_line_is_what_a_person_means(tmp_path, override, meant):
    """As DVC writes it into params.yaml."""
    path = tmp_path / "params.yaml"
    shutil.copy(PARAMS, path)
    apply_overrides(path, [override])
    group, key = override.split("=")[0].split(".")
    assert getattr(getattr(load_settings(path), group), key) == meant


@pytest.mark.parametrize("override", ["data.separator= ", "data.separator=", 'data.separator=""'])
def test_a_separator_that_dvc_makes_empty_is_refused(tmp_path, override):
    path = tmp_path / "params.yaml"
    shutil.copy(PARAMS, path)
    apply_overrides(path, [override])
    with pytest.raises(InputError, match="data: separator is empty, which would glue titles"):
        load_settings(path)


def test_a_line_end_of_yaml_is_one(changed):
    path = changed("query_prefix: null", r'query_prefix: "a\nb"')
    assert load_settings(path).model.query_prefix == "a\nb"


def test_several_problems_are_told_at_once(changed):
    with pytest.raises(InputError) as caught:
        load_settings(changed("lr: 1e-4", "lr: no\n  extra: 1"))
    assert "train.lr" in str(caught.value)
    assert "train.extra" in str(caught.value)


def test_missing_or_empty_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_settings(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("")
    with pytest.raises(InputError, match="the file"):
        load_settings(tmp_path / "params.yaml")


def test_a_prompt_for_each_source(tmp_path):
    changes = {"data.train": "medline + medline-2021", "data.prompts": ["", "title: "]}
    settings = load_settings(write_params(tmp_path / "params.yaml", changes))
    assert settings.data.sources == ["medline", "medline-2021"]


def test_a_validation_measure_as_deep_as_its_pool_is_refused(tmp_path):
    """Every encoder would have recall 1, so that the first validation would be the best."""
    path = tmp_path / "params.yaml"
    for depth in (500, 1000):
        write_params(path, {"train.valid_measure": f"recall@{depth}"})
        with pytest.raises(InputError, match=f"valid_measure recall@{depth} looks at all of the"):
            load_settings(path)
    write_params(path, {"train.valid_measure": "recall@499"})
    load_settings(path)
    write_params(path, {"train.valid_measure": "recall@1000", "train.valid_passages": None})
    load_settings(path)
