"""croissant.json: the dataset as https://mlcommons.org/croissant describes one, with the index as its records."""

from __future__ import annotations

import json
from typing import Any

from genimage_stream.schema import INDEX_FILE
from shard_tools.cards.facts import CITATION, GENIMAGE, LINKS, Facts

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_FIELDS = (
    ("key", "sc:Text", "Name of the sample; its members in the shard begin with it."),
    ("generator", "sc:Text", "The subset, by its generator."),
    ("split", "sc:Text", "train or val."),
    ("label", "sc:Text", "real or fake."),
    ("class_index", "sc:Integer", "ImageNet class, 0 to 999; missing when it is unknown."),
    ("synset", "sc:Text", "ImageNet synset; missing when it is unknown."),
    ("shard", "sc:Text", "Path of the tar with the sample."),
    ("offset", "sc:Integer", "First byte of the image within the tar."),
    ("size", "sc:Integer", "Bytes of the image."),
    ("format", "sc:Text", "jpeg, png, ... by the bytes."),
    ("mode", "sc:Text", "Colour mode, as Pillow names it."),
    ("width", "sc:Integer", "Pixels."),
    ("height", "sc:Integer", "Pixels."),
    ("sha256", "sc:Text", "Of the original file."),
)


def croissant(facts: Facts) -> str:
    terms = facts.license
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": facts.name,
        "description": facts.sentence,
        **({"license": LINKS.get(terms, terms)} if terms is not None else {}),
        **({"url": GENIMAGE, "sameAs": GENIMAGE, "citeAs": CITATION} if facts.of_genimage else {}),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "index",
                "name": "index",
                "description": "A row per sample.",
                "contentUrl": INDEX_FILE,
                "encodingFormat": "application/x-parquet",
                "sha256": facts.index_sha256,
            },
            {
                "@type": "cr:FileSet",
                "@id": "shards",
                "name": "shards",
                "description": "WebDataset shards; the field `shard` of the samples has their paths.",
                "encodingFormat": "application/x-tar",
                "includes": "*/*/*.tar",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "description": "What there is, and where its bytes are.",
                "key": {"@id": "samples/key"},
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"samples/{name}",
                        "name": name,
                        "description": text,
                        "dataType": kind,
                        "source": {"fileObject": {"@id": "index"}, "extract": {"column": name}},
                    }
                    for name, kind, text in _FIELDS
                ],
            }
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
