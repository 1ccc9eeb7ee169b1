"""A clone whose plots differ from the committed ones: `dvc plots` needs no more than them."""

import csv

from helpers import clone_into, sh

NEW = ["a cross-encoder", "runs/ours.txt", "ColBERT", "splade", "b2"]
NOT_RUN = {
    "train": "step,loss,lr,gradient_norm,temperature\n0,0.0,0.0,0.0,0.0\n",
    "valid": "step,loss,nDCG@10\n0,0.0,0.0\n",
}


def clone(tmp_path):
    folder = tmp_path / "plotted"
    folder.mkdir()
    return clone_into(folder, lock=False)


def page(folder, out, command="dvc plots show"):
    """The address of the page that DVC makes."""
    sh(folder, f"{command} -o {out}")
    return (out / "index.html").as_uri()


def not_run(folder, *suffixes):
    """Rounds without a step, as README's quick recipe and `max_steps: 0` leave them."""
    for suffix in suffixes:
        for name, text in NOT_RUN.items():
            (folder / f"plots/{name}{suffix}.csv").write_text(text)


def searched_approximately(folder):
    rows = ["hnsw,16,0.9", "hnsw,64,0.98"]
    text = "system,setting,value,recall@10\n" + "".join(f"dense,{row}\n" for row in rows)
    (folder / "plots/tradeoff.csv").write_text(text)


def add_systems(folder):
    """Five more systems, before the known ones; the ten names in their new order."""
    for name in ("systems", "recall", "precision"):
        path = folder / f"plots/{name}.csv"
        header, *rows = list(csv.reader(path.open()))
        like = [row[1:] for row in rows if row[0] == "hybrid"]
        added = [[system, *row] for system in NEW for row in like]
        with path.open("w") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *added, *rows])
    return [*NEW, *dict.fromkeys(row[0] for row in rows)]
