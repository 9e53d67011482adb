"""What both descriptions of a dataset say: its name, its license, where it comes from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from genimage_stream.dataset.info import WrittenFields
from genimage_stream.vocabulary import PUBLISHED
from shard_tools.tar import suffix_of

# https://github.com/GenImage-Dataset/GenImage says so of the whole dataset.
GENIMAGE = "https://github.com/GenImage-Dataset/GenImage"
GENIMAGE_LICENSE = "cc-by-nc-sa-4.0"
CITATION = "Zhu et al.: GenImage: A Million-Scale Benchmark for Detecting AI-Generated Image. NeurIPS 2023."
LINKS = {
    GENIMAGE_LICENSE: "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "cc-by-sa-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "mit": "https://opensource.org/license/mit",
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
}

CARD_FILE = "README.md"
CROISSANT_FILE = "croissant.json"


@dataclass(frozen=True)
class Facts:
    """`license`: a word of the Hub or any text; None where nobody said it. `suffixes`: of the images in the shards."""

    fields: WrittenFields
    suffixes: list[str]
    index_sha256: str

    @property
    def generators(self) -> list[str]:
        return sorted({group["generator"] for group in self.fields["counts"]["groups"]})

    @property
    def splits(self) -> list[str]:
        return sorted({group["split"] for group in self.fields["counts"]["groups"] if group["samples"]})

    @property
    def of_genimage(self) -> bool:
        return set(self.generators) <= set(PUBLISHED)

    @property
    def license(self) -> str | None:
        return self.fields.get("license") or (GENIMAGE_LICENSE if self.of_genimage else None)

    @property
    def name(self) -> str:
        return "GenImage" if self.of_genimage else "Real and generated images"

    @property
    def sentence(self) -> str:
        counts = self.fields["counts"]
        return (
            f"{counts['samples']:,} real and generated images of {len(self.generators)} generators in "
            f"{counts['shards']:,} WebDataset shards."
        )


def facts_of(fields: WrittenFields, formats: Collection[str], index_sha256: str) -> Facts:
    return Facts(fields, sorted(map(suffix_of, formats)) or ["png"], index_sha256)
