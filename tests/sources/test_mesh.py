import pytest

from dpr.base.errors import InputError
from dpr.settings import MedlineSettings
from dpr.sources.medline_xml import Heading, Term
from dpr.sources.mesh import nearest_overlap, nearly_the_same, split, topics


def heading(name, *qualifiers, major=False):
    """Names with a trailing * are flagged."""
    terms = [Term(f"Q{q.strip('*')}", q.strip("*"), q.endswith("*")) for q in qualifiers]
    return Heading(Term(f"D{name}", name, major), tuple(terms))


def test_names_are_in_spoken_order():
    names = {
        "Arrhythmias, Cardiac": "Cardiac Arrhythmias",
        "Receptors, Antigen, B-Cell": "B-Cell Antigen Receptors",
        "1,2-Dimethylhydrazine": "1,2-Dimethylhydrazine",
    }
    found = topics([("1", map(heading, names))], 1, 9, 0)
    assert {topic.text for topic in found} == set(names.values())


def test_grades_by_hand():
    indexed = [
        ("1", [heading("Lung, Left", "surgery*", "injuries")]),  # flagged through its qualifier
        ("2", [heading("Lung, Left", "surgery", major=True)]),  # flagged itself
        ("3", [heading("Lung, Left", "surgery"), heading("Heart", major=True)]),
        ("4", [heading("Lung, Left")]),
        ("5", [heading("Heart")]),
        ("6", [heading("Eye", major=True), heading("Eye")]),  # the best grade counts
    ]
    found = {t.id: t for t in topics(indexed, min_relevant=1, max_relevant=9, min_major=0)}
    assert found["DLung, Left"].grades == {"1": 2, "2": 2, "3": 1, "4": 1}
    assert found["DLung, LeftQsurgery"].grades == {"1": 2, "2": 2, "3": 1}
    assert found["DLung, LeftQinjuries"].grades == {"1": 1}
    assert found["DHeart"].grades == {"3": 2, "5": 1}
    assert found["DEye"].grades == {"6": 2}
    assert found["DLung, LeftQsurgery"].text == "Left Lung surgery"
    assert found["DLung, Left"].text == "Left Lung"
    assert found["DLung, LeftQsurgery"].has_qualifier
    assert found["DLung, Left"].major == ["1", "2"]


def test_bounds():
    indexed = [(str(i), [heading("A", major=i < 3)]) for i in range(10)]
    assert len(topics(indexed, 10, 10, 3)) == 1
    assert topics(indexed, 11, 20, 3) == []
    assert topics(indexed, 1, 9, 3) == []
    assert topics(indexed, 1, 20, 4) == []


SETTINGS = MedlineSettings(
    seed=1,
    min_relevant=1,
    max_relevant=200,
    min_major=1,
    train_max_relevant=200,
    valid_share=0.1,
    test_share=0.2,
    valid_topics=10,
    test_topics=20,
)


@pytest.fixture(scope="module")
def many_topics():
    indexed = [
        (f"{i}-{n}", [heading(f"{i:03}", *["a*", "b*"][: i % 3], major=True)])
        for i in range(200)
        for n in range(3)
    ]
    return topics(indexed, 1, 200, 1)


def test_no_descriptor_occurs_in_two_splits(many_topics):
    parts = split(many_topics, SETTINGS)
    descriptors = {name: {t.descriptor for t in part} for name, part in parts.items()}
    assert len(set.union(*descriptors.values())) == sum(map(len, descriptors.values()))
    assert len(descriptors["train"]) == 140  # 70 % of 200
    for name, count in (("valid", 10), ("test", 20)):
        assert sum(t.has_qualifier for t in parts[name]) == count // 2
        assert len({t.descriptor for t in parts[name]}) == len(parts[name]) == count


def test_as_many_topics_have_a_qualifier_as_there_are_descriptors_with_one(many_topics):
    """A third of the 40 descriptors of the test have none, so 36 topics need plain ones."""
    parts = split(many_topics, SETTINGS.model_copy(update={"test_topics": 36}))
    assert sum(t.has_qualifier for t in parts["test"]) == 18
    rare = [
        t for t in many_topics if not t.has_qualifier or t.descriptor in ("D001", "D002", "D004")
    ]
    parts = split(rare, SETTINGS.model_copy(update={"test_topics": 36, "test_share": 0.6}))
    with_pairs = {t.descriptor for t in rare if t.has_qualifier} - {
        t.descriptor for name in ("train", "valid") for t in parts[name]
    }
    assert {t.descriptor for t in parts["test"] if t.has_qualifier} <= with_pairs
    assert len(parts["test"]) == 36


def test_a_topic_that_is_nearly_a_training_topic_is_not_drawn(many_topics):
    """Every held-out topic but those of a few descriptors gets a twin that is trained on."""
    parts = split(many_topics, SETTINGS)
    spoilt = parts["test"][0]
    nearly = dict(list(spoilt.grades.items())[:-1]) | {"another": 1}  # 2 of 4 in common
    twin = many_topics[-1]._replace(id="twin", descriptor="Dtwin", grades=nearly)
    assert nearly_the_same([spoilt], [twin]) == set()
    same = twin._replace(grades=spoilt.grades | {"another": 1})  # 3 of 4: .75
    assert nearly_the_same([spoilt], [same]) == set()
    same = twin._replace(grades=dict.fromkeys("abcde", 1))
    most = spoilt._replace(grades=dict.fromkeys("abcd", 1))  # 4 of 5: .8
    assert nearly_the_same([most], [same]) == {spoilt.id}
    trainable = [*many_topics, twin._replace(grades=spoilt.grades)]
    again = split(many_topics, SETTINGS, trainable)
    assert spoilt.id not in {t.id for t in again["test"]}


def test_training_may_have_topics_beyond_those_to_judge_by(many_topics):
    rare = [t._replace(id=f"rare-{t.id}") for t in many_topics]
    parts, plain = split(many_topics, SETTINGS, rare), split(many_topics, SETTINGS)
    assert parts["test"] == plain["test"]
    assert parts["valid"] == plain["valid"]
    assert [t.id for t in parts["train"]] == [f"rare-{t.id}" for t in plain["train"]]


def test_the_seed_decides_the_split(many_topics):
    again = split(many_topics, SETTINGS)
    other = split(many_topics, SETTINGS.model_copy(update={"seed": 2}))
    assert again == split(many_topics, SETTINGS)
    assert again["test"] != other["test"]


def test_too_few_topics_are_an_error(many_topics):
    wanting = SETTINGS.model_copy(update={"test_topics": 100})
    with pytest.raises(InputError, match=r"test_topics: 100 topics .* has only 40;"):
        split(many_topics, wanting)


def test_the_greatest_jaccard_index_by_hand():
    topics = {"a": {"1", "2", "3"}, "b": {"9"}, "c": {"7"}}
    others = {"x": {"1"}, "y": {"1", "2", "4"}, "z": {"7"}}
    assert nearest_overlap(topics, others) == {"a": 2 / 4, "b": 0.0, "c": 1.0}
    assert nearest_overlap(topics, {}) == {"a": 0.0, "b": 0.0, "c": 0.0}
