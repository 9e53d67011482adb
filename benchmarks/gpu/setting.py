"""The settings that the processes of the GPU check share: device, datasets, sizes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

#: The parts of the data that are measured, by label.
STREAMS: dict[str, list[str] | None] = {"mixed": None, "reals": ["real"], "fakes": ["fake"]}

#: The libraries that decode JPEGs on a GPU, and what may help where one was not loaded.
DECODERS = {
    "libnvjpeg": "nvJPEG was not loaded: pip install nvidia-nvjpeg (of CUDA 12: nvidia-nvjpeg-cu12).",
    "libnvcuvid": "libnvcuvid.so.1 was not loaded, which nvJPEG reaches that hardware by: it belongs to the driver's "
    '"video" capability (in a container: NVIDIA_DRIVER_CAPABILITIES=all).',
}


@dataclass(frozen=True)
class Setting:
    """`folders`: datasets by name ("plain", "crop-ready"); `shards`: the plain one's tar files, each as often as it
    takes to make an epoch as long. Paths are absolute."""

    device: str  # "cuda:0" or "cpu"
    batch_size: int
    crop: int
    threads: int
    folders: dict[str, str]
    shards: tuple[str, ...]

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    @property
    def gpu(self) -> int:
        """The GPU's number, as torch and DALI count those that they see."""
        return int(self.device.partition(":")[2] or 0)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Setting:
        fields = json.loads(path.read_text())
        return cls(**{**fields, "shards": tuple(fields["shards"])})
