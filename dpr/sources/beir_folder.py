"""`beir:FOLDER`: a folder in BEIR layout, as a collection and as training data.

corpus, queries     a file of any format of `dpr.sources.tables`, or a folder of shards
qrels/SPLIT.*       likewise; a split may have shards

A folder that has several data sets, as NanoBEIR's, names their files by data set in all three.
`beir:FOLDER#NanoSciFact` is one of them.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dpr.base.errors import InputError
from dpr.records.types import Judgment, Pair, Passage, is_relevant
from dpr.settings import DataSettings
from dpr.sources.beir_rows import (
    read_judgments,
    read_passages,
    read_queries,
    refuse_decimals,
)
from dpr.sources.folders import chosen, find_tables, parted, refuse_missing, unread, whole
from dpr.sources.reading import Findings
from dpr.sources.sampling import draw, hold_out
from dpr.sources.types import Collection, Request, Training

QRELS = ("qrels", "data")  # their folders; on a hub, the unnamed subset is in the second
VALIDATION_SPLITS = ("valid", "dev", "validation")  # the first with a relevant passage is used
ONLY = "train"  # what `datasets` calls the only table of a data set


def collection(request: Request) -> Collection:
    """The passages, and the queries judged in `data.split` or in a validation split.

    A folder without queries and qrels can be searched, but not measured.
    """
    return _local(request.location).collection(request.data)


def training(request: Request) -> Training:
    """Pairs from the qrels of "train". `VALIDATION_SPLITS` or else held-out queries validate.

    `data.split` neither trains nor validates.
    """
    return _local(request.location).training(request.data)


def _local(location: str) -> "Folder":
    place, subset = parted(location)
    folder = Path(place)
    refuse_missing(folder, "folder")
    description = {"folder": folder.name} | ({"subset": subset} if subset else {})
    space = f"beir:{folder.resolve()}" + (f"#{subset}" if subset else "")
    return Folder.find(f"beir:{location}", folder, subset, description, space)


def is_beir(folder: Path, subset: str | None) -> bool:
    """Whether there are passages in a folder, or in that of a subset."""
    places = [folder, *([folder / subset] if subset else [])]
    return any("corpus" in find_tables(place) or (place / "corpus").is_dir() for place in places)


def has_queries(folder: Path) -> bool:
    return "queries" in find_tables(folder) or (folder / "queries").exists()


class Folder(NamedTuple):
    """The files of one data set.

    Attributes:
        qrels: the files of each split. {"": files} if they are not named by split: these are the
            judgments of `data.split`. With `ONLY`, of the same files, they also train.
        description: for the manifest.
    """

    name: str
    corpus: list[Path]
    queries: list[Path]
    qrels: dict[str, list[Path]]
    description: dict[str, Any]
    id_space: str

    @classmethod
    def find(
        cls,
        name: str,
        folder: Path,
        subset: str,
        description: dict[str, Any],
        id_space: str,
        qrels_folder: Path | None = None,
    ) -> "Folder":
        """The tables of a folder; InputError if one is missing or there is no telling which.

        Args:
            name: of the source, in messages.
            subset: a folder in the folder, or the name of tables; "" for the only ones.
            qrels_folder: the folder with the qrels, if it is not in the folder.
        """
        where = name.partition("#")[0]
        if subset and (folder / subset).is_dir():
            folder, subset = folder / subset, ""
        corpus = _texts(folder, "corpus")
        places = [qrels_folder] if qrels_folder else [folder / part for part in QRELS]
        qrels = next(filter(None, (find_tables(place, numbered=False) for place in places)), {})
        queries = _texts(folder, "queries") if qrels or has_queries(folder) else {}
        if queries and not qrels:
            more = unread(folder / QRELS[0])
            raise InputError(f"{folder}: no qrels/SPLIT.tsv; queries need judgments" + more)
        only = subset or (next(iter(corpus)) if len(corpus) == 1 else None)
        passages = chosen(corpus, only, where)
        if queries and subset:
            queries = {"": chosen(queries, subset, where)}
        one = (
            len(queries) == 1 and list(qrels) == [only] and only not in ("test", *VALIDATION_SPLITS)
        )
        if qrels and (subset or one):
            files = chosen(qrels, only, where)
            qrels = {"": files} | ({ONLY: files} if only == ONLY else {})
        elif "" in qrels:
            raise InputError(f"{qrels[''][0]}: names no split; call it SPLIT-00000-of-00001")
        files = [file for table in queries.values() for file in whole(table)]
        return cls(name, passages, files, qrels, description, id_space)

    def collection(self, data: DataSettings) -> Collection:
        findings = Findings(self.description | {"split": data.split})
        if not self.qrels:
            return Collection(
                passages=self._passages(findings),
                queries=(),
                qrels={"test": ()},
                description=findings.description,
                id_space=self.id_space,
                judged=False,
            )
        judged_in = "" if "" in self.qrels else data.split
        if {"", ONLY} <= self.qrels.keys() and data.split != ONLY:
            said = f"the only qrels, {ONLY!r}, are taken as {data.split!r}"
            print(f"{self.name}: {said}", file=sys.stderr)
        qrels = {"test": self._judgments(judged_in, findings)}
        _, valid = self._validation(data.split, findings)
        if valid:
            qrels["valid"] = valid
        judged = {judgment.query_id for part in qrels.values() for judgment in part}
        queries = read_queries(self.queries, findings)
        refuse_decimals(judged - queries.keys(), queries)
        unjudged = len(queries.keys() - judged)
        findings.description["queries_without_judgments"] = unjudged
        return Collection(
            passages=self._passages(findings),
            queries=[query for query in queries.values() if query.id in judged],
            qrels=qrels,
            description=findings.description,
            id_space=self.id_space,
        )

    def training(self, data: DataSettings) -> Training:
        if data.split == "train":
            raise InputError("params.yaml: data.split: 'train' is for training; use another split")
        findings = Findings(self.description)
        train = self._judgments("train", findings)
        relevant = [Pair(j.query_id, j.passage_id) for j in train if is_relevant(j.grade)]
        pairs = list(draw(relevant, data.train_limit, data.held_out_seed))
        validation, valid = self._validation(data.split, findings)
        held_out: set[str] = set()
        if not validation:
            validation = f"{data.held_out} held out, seed {data.held_out_seed}"
            ids = (pair.query_id for pair in pairs)
            held_out = hold_out(ids, data.held_out, data.held_out_seed)
            valid = sorted((j for j in train if j.query_id in held_out), key=lambda j: j.query_id)
            train = [j for j in train if j.query_id not in held_out]
        findings.description["validation"] = validation
        used = {judgment.query_id for judgment in (*train, *valid)}
        return Training(
            passages=self._passages(findings),
            queries=[q for q in read_queries(self.queries, findings).values() if q.id in used],
            qrels={"train": train, "valid": valid},
            pairs=[pair for pair in pairs if pair.query_id not in held_out],
            description=findings.description,
            held_out=held_out,
            id_space=self.id_space,
        )

    def _passages(self, findings: Findings) -> Iterator[Passage]:
        """All passages; then prints what was found in all tables."""
        yield from read_passages(self.corpus, findings)
        findings.report(self.name)

    def _validation(self, judged: str, findings: Findings) -> tuple[str | None, list[Judgment]]:
        """The first validation split with a relevant passage; never the split that is judged."""
        for name in VALIDATION_SPLITS:
            if name != judged and name in self.qrels:
                judgments = self._judgments(name, findings)
                if any(is_relevant(judgment.grade) for judgment in judgments):
                    return name, judgments
        return None, []

    def _judgments(self, split: str, findings: Findings) -> list[Judgment]:
        if split not in self.qrels:
            splits = ", ".join(sorted(self.qrels)) or "-"
            raise InputError(
                f"{self.name}: qrels: no split {split!r}; the splits are: {splits} (data.split is "
                "judged, 'train' trains)"
            )
        return read_judgments(whole(self.qrels[split]), split, findings)


def _texts(folder: Path, name: str) -> dict[str, list[Path]]:
    """The corpus or the queries by data set: a file of this name, or the tables in a folder."""
    alone = find_tables(folder).get(name)
    tables = {name: alone} if alone else find_tables(folder / name)
    if not tables:
        kinds = f"{name}.jsonl (.csv, .tsv, .parquet) and no folder {name}/"
        raise InputError(f"{folder}: no {kinds}{unread(folder, name)}")
    return tables
