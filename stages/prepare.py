"""prepare: write the collection and the training data in BEIR layout.

Reads the sources named in data.collection and data.train. Writes data/collection, data/training and
data/manifest.json, which has the counts and hashes of both. Texts are cleaned; ids and judgments
are checked. `data.passages` cuts documents into passages; judgments and pairs still name documents.
Queries that are both judged and trained on are an error, unless data.overlap is drop.

    python -m stages.prepare
"""

import sys

from dpr.base.files import new_folder, write_json
from dpr.settings import load_settings
from dpr.sources import registry, write
from dpr.sources.mixture import mix, separate
from stages.run import run


def main() -> str:
    settings = load_settings("params.yaml")
    data = settings.data
    if not data.separator[-1].isspace():  # DVC drops the space of -S 'data.separator=. '
        print(
            f"data.separator {data.separator!r} ends without a space: titles touch their texts",
            file=sys.stderr,
        )
    collection = registry.open_collection(data)
    trainings = registry.open_training(data)
    collection, trainings, dropped = separate(collection, trainings, data.overlap)
    training = mix(data.source_names, trainings)
    with new_folder("data/collection") as folder:
        collected = write.write_collection(
            collection, folder, data.collection, data.drop_query_id, data.passages
        )
    with new_folder("data/training") as folder:
        trained = write.write_training(
            training, folder, data.train, data.drop_query_id, data.passages
        )
    manifest = {
        "collection": collected,
        "train": trained,
        "dropped_for_overlap": dropped,
        "version": data.version,
    }
    write_json("data/manifest.json", manifest)
    valid, test = (collected["judgments"][split]["queries"] for split in ("valid", "test"))
    passages = collected["passages"]
    documents = f" of {passages['documents']:,} documents" if data.cut else ""
    return (
        f"{passages['count']:,} passages{documents}, {valid} validation and {test} test topics; "
        f"{trained['pairs']['count']:,} training pairs"
    )


if __name__ == "__main__":
    run(main)
