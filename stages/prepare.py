"""prepare: the collection in BEIR layout, text cleaned, counts and fingerprints in a manifest."""

import json

from dpr.collections import medline
from dpr.files import new_folder, write_json
from dpr.settings import load_settings
from stages import run


def main() -> None:
    settings = load_settings("params.yaml")
    builders = {"medline": lambda folder: medline.build(folder, settings.data.medline)}
    with new_folder("data/collection") as folder:
        manifest = builders[settings.data.collection](folder)
    write_json("data/manifest.json", manifest)
    print(json.dumps(manifest, indent=2))


if __name__ == "__main__":
    run(main)
