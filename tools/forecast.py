"""How long the stages take here: their work, over the rates of this machine.

The work is in floating-point operations, from params.yaml, the manifest and the lengths of texts.
The rates are those of matrix products, measured for a second, and of stages that have run here.
"""

import itertools
import math
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import safe_open

from dpr.base.environment import processor, thread_count
from dpr.base.files import read_json, write_json
from dpr.settings import ROUNDS, Round, Settings, load_settings
from stages.run import SCRATCH

MANIFEST, LENGTHS = Path("data/manifest.json"), Path("metrics/lengths.json")
ENCODER, RATES = Path("data/encoders/zero_shot"), SCRATCH / "rates.json"
# Parts of names of matrices by which no token is multiplied.
SKIPPED = ("embed", "wte", "wpe", "pooler")
ROWS, INNER, COLUMNS = 2048, 384, 1536  # of the products, as in all-MiniLM-L6-v2
BACKWARD = 2  # times the operations of a forward pass
# Share of the rate of matrix products that each kind of work reaches, on AMD EPYCs (families 25 and
# 26, by benchmarks.encoding and benchmarks.training). int8: of the rate in fp32. AMX: of the rate
# in bf16 on an Intel Xeon (family 6, model 167), whose matrix units do nothing for the rest.
AMX, FASTER = "bf16 by AMX", 4  # times the rate in fp32; without such units, bf16 is twice as fast
SHARES = {
    "training": {"fp32": 0.75, "bf16": 0.5, AMX: 0.1},
    "training queries": {"fp32": 0.4, "bf16": 0.3, AMX: 0.05},
    "encoding": {"fp32": 0.9, "bf16": 0.55, AMX: 0.19, "fp16": 0.55, "int8": 1.9},
    "searching": {"fp32": 0.3},
}
# The rest, on a machine with this rate in fp32: to start a stage, and for 10,000 passages.
REFERENCE, START = 185e9, 3.0
PER_PASSAGE = {"prepare": 5.0, "lengths": 3.0, "bm25_index": 4.0, "bm25_search": 4.0, "audit": 4.0}


class Work(NamedTuple):
    """The work of a stage."""

    kind: str = ""  # of SHARES
    format: str = "fp32"
    operations: float = 0.0
    seconds: float = START  # of everything else, on the reference machine


class Matrix(NamedTuple):
    """A matrix of weights that each token passes, in a layer; -1: in none."""

    layer: int
    rows: int
    columns: int


class Machine(NamedTuple):
    """Operations a second of matrix products by number format, and the formats of both stages."""

    products: dict[str, float]
    device: str
    training: str
    encoding: str
    matrices: list[Matrix]  # of the model that params.yaml names, if it is on this machine

    @classmethod
    def here(cls) -> "Machine":
        """Measured in a process of its own, since torch takes memory."""
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(measure, load_settings("params.yaml")).result()


@dataclass(frozen=True)
class Forecast:
    """Seconds of each stage with these settings and data, on this machine."""

    settings: Settings
    manifest: dict[str, Any]
    lengths: dict[str, dict[str, Any]]  # of dpr.evaluation.lengths.statistics
    machine: Machine
    rates: dict[str, float]  # operations a second of stages that have run here

    @classmethod
    def here(cls, machine: Machine, initialized: bool) -> "Forecast | None":
        """With the data and the encoder of now; None as long as the work is unknown.

        That of a cross-encoder always is: nothing here says how large it is.

        Args:
            initialized: whether data/encoders/zero_shot is of the model of now.
        """
        settings = load_settings("params.yaml")
        if settings.rerank.model or (settings.teacher.scores or "").startswith("cross-encoder:"):
            return None
        if not (MANIFEST.exists() and LENGTHS.exists()):
            return None
        manifest, lengths = read_json(MANIFEST), read_json(LENGTHS)
        named = manifest["collection"]["name"], manifest["train"]["name"]
        if named != (settings.data.collection, settings.data.train):
            return None  # the files are of an earlier experiment
        if initialized:
            machine = machine._replace(matrices=matrices(ENCODER))
        rates = read_json(RATES) if RATES.exists() else {}
        return cls(settings, manifest, lengths, machine, rates) if machine.matrices else None

    def seconds(self, stage: str) -> float:
        work = self.work(stage)
        seconds = work.seconds * REFERENCE / self.machine.products["fp32"]
        return seconds + (work.operations / self._rate(work) if work.operations else 0.0)

    def learn(self, stage: str, seconds: float) -> None:
        """Take the rate of a stage that has run, unless it found its work done."""
        work = self.work(stage)
        seconds -= work.seconds * REFERENCE / self.machine.products["fp32"]
        if work.operations and seconds > max(1.0, work.operations / self._rate(work) / 2):
            self.rates[self._key(work)] = work.operations / seconds
            with suppress(OSError):  # a full disk: the stages say so
                write_json(RATES, self.rates)

    def _rate(self, work: Work) -> float:
        fp32, format = self.machine.products["fp32"], work.format
        products = self.machine.products.get(format, fp32)
        if format == "bf16" and self.machine.device == "cpu" and products > FASTER * fp32:
            format = AMX
        return self.rates.get(self._key(work), SHARES[work.kind][format] * products)

    def _key(self, work: Work) -> str:
        place = [self.machine.device, processor(), f"{thread_count(self.settings.threads)} threads"]
        return ", ".join([work.kind, work.format, *place, self.settings.launcher])

    def work(self, stage: str) -> Work:
        name, _, of = stage.partition("@")
        settings, collection = self.settings, self.manifest["collection"]
        round_name: Round = "second" if of == "second" else "first"
        if name == "encode" or (name == "vectors" and settings.needs_vectors(round_name)):
            return self._encoding(stage)
        if name == "train" and settings.trains(round_name):
            return self._training(round_name)
        if name == "mine" and settings.mines(round_name):
            return self._searching(self.manifest["train"], ["train"])
        if name == "search" and settings.index.kind == "flat":
            return self._searching(collection, ["test", "valid"])
        thousands = collection["passages"]["count"] / 10_000
        return Work(seconds=START + PER_PASSAGE.get(name, 0.0) * thousands)

    def _encoding(self, stage: str) -> Work:
        """No work if an earlier stage encodes the same passages with the same passage encoder."""
        trained = [
            self.settings.trains(name) and self.settings.train_settings(name).roles == "both"
            for name in ROUNDS
        ]
        encoded = {  # in the order of dvc.yaml: trainings of the passage encoder before, passages
            "encode@zero_shot": (0, "collection"),
            "vectors@first": (0, "train"),
            "vectors@second": (sum(trained[:1]), "train"),
            "encode@dense": (sum(trained), "collection"),
        }
        same = {
            name: (encoder, self.manifest[data]["passages"]["sha256"])
            for name, (encoder, data) in encoded.items()
        }
        if same[stage] in [same[name] for name in itertools.takewhile(stage.__ne__, same)]:
            return Work()
        data = encoded[stage][1]
        count = self.manifest[data]["passages"]["count"]
        operations = count * self._forward(f"{data}_passages")
        return Work("encoding", self.machine.encoding, operations)

    def _searching(self, data: dict[str, Any], splits: list[str]) -> Work:
        queries = sum(data["judgments"][split]["queries"] for split in splits)
        width = min(matrix.columns for matrix in self.machine.matrices)
        return Work("searching", "fp32", 2.0 * queries * data["passages"]["count"] * width)

    def _training(self, round_name: Round) -> Work:
        train = self.settings.train_settings(round_name)
        data, both = self.manifest["train"], train.roles == "both"
        per_step = train.batch_size * train.accumulate
        steps = train.max_steps
        if steps is None:
            units = data["pairs"]["count"]
            if train.group_by == "query":
                units = min(units, data["judgments"]["train"]["queries"])
            steps = round((train.epochs or 0.0) * units / per_step)
        texts = self._forward("train_queries")
        if both:
            negatives = self.settings.mines(round_name) or data["pairs"]["with_negatives"] > 0
            passages = 1 + train.hard_negatives * negatives
            texts += passages * self._forward("train_passages", train.passage_max_length)
        forward = steps * per_step * train.pairs_per_group * texts
        operations = forward * (1 + bool(train.chunk_size))
        operations += BACKWARD * forward * self._share_above(train.freeze_layers)
        if both:
            ranked = min(train.valid_passages or math.inf, data["passages"]["count"])
            validations = 1 + math.ceil(steps / train.eval_every)
            operations += validations * ranked * self._forward("train_passages")
        kind = "training" if both else "training queries"
        return Work(kind, self.machine.training, operations)

    def _forward(self, texts: str, limit: int | None = None) -> float:
        """Operations of a forward pass for one text; attention adds less than a tenth."""
        if texts not in self.lengths:
            return 0.0  # a collection without queries
        of = self.lengths[texts]
        limits = [most for most in (limit, of["limit"]) if most]
        return 2.0 * self._weights() * mean_length(of, min(limits, default=None))

    def _weights(self, above: int = 0) -> int:
        """The weights of all matrices but those of the lowest `above` layers."""
        return sum(m.rows * m.columns for m in self.machine.matrices if not 0 <= m.layer < above)

    def _share_above(self, frozen: float) -> float:
        """The share of the weights that is above this share of the layers."""
        layers = 1 + max(matrix.layer for matrix in self.machine.matrices)
        return self._weights(int(frozen * layers)) / self._weights()


def mean_length(lengths: dict[str, Any], limit: int | None) -> float:
    """The mean number of tokens if `limit` truncates texts with these quantiles."""
    shares = [0.0, 0.1, 0.5, 0.9, 0.99, 1.0]
    values = [lengths[name] for name in ("p10", "p50", "p90", "p99", "max")]
    values.insert(0, max(0.0, 2 * values[0] - values[1]))
    texts = np.interp(np.linspace(0, 1, 1001), shares, values)
    return float(np.minimum(texts, limit or math.inf).mean())


def measure(settings: Settings) -> Machine:
    """Matrix products in each number format, for a second in all."""
    import torch  # here, since it loads slowly and takes memory

    from dpr.base import runtime
    from dpr.encoders import formats
    from dpr.encoders.model_folder import PACKAGED, locate

    runtime.set_up(settings.threads)
    device = runtime.device()
    training = formats.training_format(settings.train.precision, device)
    ((_, encoding), *_) = formats.encoding_engines(settings.encode.precision, device)
    products: dict[str, float] = {}
    names: list[str] = ["fp32", training, encoding]
    for name in dict.fromkeys(names):
        if name == "int8":  # torch has no fast product of this format
            continue
        dtype = formats.HALF.get(name, torch.float32)
        one = torch.ones(ROWS, INNER, dtype=dtype, device=device)
        other = torch.ones(INNER, COLUMNS, dtype=dtype, device=device)
        products[name] = _products_a_second(lambda: float((one @ other)[0, 0]))  # noqa: B023
    name = settings.model.name  # before the stage `init`; a hub is asked by the stage alone
    known = name in PACKAGED or Path(name).is_dir()
    return Machine(
        products, device.type, training, encoding, matrices(locate(name)) if known else []
    )


def _products_a_second(product: Callable[[], float]) -> float:
    """Operations a second; the first calls load kernels and wake threads."""
    for _ in range(3):
        product()
    started, count = time.monotonic(), 0
    while time.monotonic() < started + 0.4:
        product()
        count += 1
    return count * 2.0 * ROWS * INNER * COLUMNS / (time.monotonic() - started)


def matrices(folder: Path) -> list[Matrix]:
    """The matrices of one role; none if there is no such folder."""
    found: list[list[Matrix]] = [[]]
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, framework="numpy") as tensors:
            shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
        found.append([])
        for name, shape in shapes.items():
            if len(shape) == 2 and not any(part in name for part in SKIPPED):
                number = re.search(r"(?:^|\.)(\d+)\.", name)
                found[-1].append(Matrix(int(number[1]) if number else -1, *shape))
    return max(found, key=len)


def in_words(seconds: float) -> str:
    """Such as `about 40 seconds` or `about 4 minutes`."""
    if seconds < 55:
        return f"about {max(5, round(seconds / 5) * 5)} seconds"
    if seconds < 5400:
        minutes = max(1, round(seconds / 60))
        return f"about {minutes} minute{'s' * (minutes > 1)}"
    return f"about {seconds / 3600:.1f} hours"
