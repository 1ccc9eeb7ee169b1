"""prepare: write what is searched and what is trained on in BEIR layout.

Reads the sources that data.collection and data.train name. Makes data/collection, data/training and
data/manifest.json, with counts and fingerprints of both. Texts are cleaned, ids and judgments
checked, and queries that are trained on and judged are refused, or dropped if data.overlap says so.

    python -m stages.prepare
"""

import sys

from dpr.base.files import new_folder, write_json
from dpr.settings import load_settings
from dpr.sources import registry, write
from dpr.sources.mixture import mix, separate
from stages.run import SCRATCH, run


def main() -> str:
    settings = load_settings("params.yaml")
    data = settings.data
    if not data.separator[-1].isspace():  # DVC drops the space of -S 'data.separator=. '
        print(f"data.separator {data.separator!r}: texts touch their titles", file=sys.stderr)
    collection = registry.open_collection(data)
    sources = registry.open_training(data, SCRATCH / "downloads")
    collection, sources, dropped = separate(collection, sources, data.overlap)
    training = mix(data.sources, sources)
    with new_folder("data/collection") as folder:
        searched = write.write_collection(collection, folder, data.collection, data.drop_query_id)
    with new_folder("data/training") as folder:
        trained = write.write_training(training, folder, data.train, data.drop_query_id)
    manifest = {
        "collection": searched,
        "train": trained,
        "dropped_for_overlap": dropped,
        "version": data.version,
    }
    write_json("data/manifest.json", manifest)
    valid, test = (searched["judgments"][split]["queries"] for split in ("valid", "test"))
    return (
        f"{searched['passages']['count']:,} passages, {valid} validation and {test} test topics; "
        f"{trained['pairs']['count']:,} training pairs"
    )


if __name__ == "__main__":
    run(main)
