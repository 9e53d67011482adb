"""README.md: a dataset card by which `datasets.load_dataset(DST)` reads the shards, and people what they are."""

from __future__ import annotations

import json
import re

from genimage_stream.remedies import printable
from shard_tools.cards.facts import GENIMAGE, LINKS, Facts

#: Whoever takes this line out keeps what they write: a dataset that grows then leaves its card alone.
OURS = "<!-- Written by shard-tools. Remove this line to keep your changes when the dataset grows. -->"

_MOST_CONFIGS = 64  # one per generator, besides the one of all
_WORD = re.compile(r"[a-z0-9][a-z0-9.-]*")
_JSON = (
    ("generator", "string"),
    ("split", "string"),
    ("label", "string"),
    ("class_index", "int64"),
    ("synset", "string"),
    ("format", "string"),
    ("mode", "string"),
    ("width", "int64"),
    ("height", "int64"),
    ("jpeg_quality", "int64"),
    ("progressive", "bool"),
    ("size", "int64"),
    ("sha256", "string"),
)


def readme(facts: Facts) -> str:
    names = facts.generators if 1 < len(facts.generators) <= _MOST_CONFIGS else []
    groups = {(g["generator"], g["split"]) for g in facts.fields["counts"]["groups"] if g["samples"]}
    yaml = ["---", *_license(facts), f"pretty_name: {facts.name}", "task_categories:", "- image-classification"]
    yaml += ["configs:", "- config_name: default", "  data_files:"]
    for split in facts.splits:
        yaml += [f"  - split: {_scalar(split)}", f"    path: {_quoted(f'*/{split}/*.tar')}"]
    for name in names:
        yaml += [f"- config_name: {json.dumps(name)}", "  data_files:"]
        for split in facts.splits:
            if (name, split) in groups:
                yaml += [f"  - split: {_scalar(split)}", f"    path: {_quoted(f'{name}/{split}/*.tar')}"]
    yaml.append("dataset_info:")
    for name in ("default", *names):
        yaml += [f"- config_name: {json.dumps(name)}", *_features(facts)]
    return "\n".join([*yaml, "---", "", OURS, "", *_text(facts), ""])


# What a dataset of strangers says of itself is written again when it loses generators.
def _plain(text: str) -> str:
    """Text in Markdown that is no markup."""
    return re.sub(r"([\\\\`<>|\[\]])", r"\\\1", printable(text))


def _scalar(text: str) -> str:
    return text if _WORD.fullmatch(text) else json.dumps(text)


def _quoted(text: str) -> str:
    """Text in YAML between single quotes."""
    return "'" + printable(text).replace("'", "''") + "'"


def _license(facts: Facts) -> list[str]:
    terms = facts.license
    if terms is None:
        return ["license: unknown"]
    if _WORD.fullmatch(terms):
        return [f"license: {json.dumps(terms)}"]
    return ["license: other", f"license_name: {json.dumps(terms)}"]


def _features(facts: Facts) -> list[str]:
    lines = ["  features:"]
    for suffix in facts.suffixes:
        lines += [f"  - name: {suffix}", "    dtype: image"]
    lines += ["  - name: cls", "    dtype: int64", "  - name: json", "    struct:"]
    recoded = [("stored_sha256", "string")] if facts.fields["options"].get("crop_ready") else []
    for name, kind in (*_JSON, *recoded):
        lines += [f"    - name: {name}", f"      dtype: {kind}"]
    for name in ("__key__", "__url__"):
        lines += [f"  - name: {name}", "    dtype: string"]
    return lines


def _text(facts: Facts) -> list[str]:
    terms = facts.license
    said = "unknown: nobody said it when the dataset was packed (`shard-tools pack --license`)"
    if terms is not None:
        said = f"[{terms}]({LINKS[terms]})" if terms in LINKS else _plain(terms)
    rows = [
        f"| {_plain(g['generator'])} | {_plain(g['split'])} | {_plain(g['label'])} | {g['samples']:,} |"
        for g in facts.fields["counts"]["groups"][:1000]
    ]
    return [
        f"# {facts.name}",
        "",
        facts.sentence + (f" From [GenImage]({GENIMAGE})." if facts.of_genimage else ""),
        "",
        f"License of the images: {said}.",
        "",
        "| generator | split | label | images |",
        "|---|---|---|---|",
        *rows,
        "",
        "Each sample of a shard is an image ("
        + ", ".join(f"`{s}`" for s in facts.suffixes)
        + "), `cls` (0 real, 1 fake) "
        "and `json` with facts of the image. `index.parquet` has a row per sample.",
        "",
        "    import genimage_stream as gs",
        "    dataset = gs.open_dataset(DST)          # a folder or an address",
        "    loader = gs.Loader(dataset, batch_size=64, crop=224)",
        "",
        "    from datasets import load_dataset",
        "    dataset = load_dataset(DST)             # one column for each format, empty for images of the others",
    ]
