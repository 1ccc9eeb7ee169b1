"""prepare: what is searched and what is trained on, in BEIR layout, with a manifest of both.

Text is cleaned, ids and judgments are checked, and counts and fingerprints pin what was read.
"""

import json

from dpr.collections import door, writer
from dpr.files import new_folder, write_json
from dpr.settings import load_settings
from stages import run


def main() -> None:
    settings = load_settings("params.yaml")
    collection = door.open_collection(settings.data)
    training = door.open_training(settings.data)
    with new_folder("data/collection") as folder:
        searched = writer.write_collection(collection, folder, settings.data.collection)
    with new_folder("data/training") as folder:
        trained = writer.write_training(training, folder, settings.data.train)
    manifest = {"collection": searched, "train": trained}
    write_json("data/manifest.json", manifest)
    print(json.dumps(manifest, indent=2))


if __name__ == "__main__":
    run(main)
