"""Pretrained weights that a notebook fetches while it runs: which file, and where its library looks for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from dl4mic_hpc.catalog import addresses

NOTEBOOK = "notebook"

ROOTS: Mapping[str, str] = {
    "torch": "TORCH_HOME",
    "keras": "KERAS_HOME",
    "cellpose": "CELLPOSE_LOCAL_MODELS_PATH",
    "fvcore": "FVCORE_CACHE",
    NOTEBOOK: "",
}
"""By the library that looks for the file: the variable that names its folder.

torch: https://pytorch.org/docs/stable/hub.html; keras: https://keras.io/api/utils/python_utils/#getfile-function
(tf.keras up to 2.15 knows ~/.keras only); cellpose: https://cellpose.readthedocs.io/en/latest/models.html; fvcore:
Detectron2's model zoo, by way of iopath. "notebook": the notebook itself fetches the file, by its address.
"""

_PART = r"[A-Za-z0-9][A-Za-z0-9._+-]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One file. `sha256`: "" where nobody has written one down. `path`: below the folder of `root` (of ROOTS)."""

    url: str
    sha256: str
    root: str
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def stored(self) -> str:
        """Its place below the cluster's weights folder: another address or hash is another file."""
        told = "\0".join(("weights", self.url, self.sha256, self.name))
        return f"{hashlib.sha256(told.encode()).hexdigest()[:16]}/{self.name}"


class WeightsEntry(BaseModel):
    """One entry of config.dl4mic_hpc.weights, as people write it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    sha256: str = ""
    root: Literal["torch", "keras", "cellpose", "fvcore", "notebook"]
    path: str

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Everything that is wrong with the entry, in one sentence: its parts are told as one mistake."""
        wrong = [told for told in (self._url(), self._sha256(), self._path()) if told]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _url(self) -> str:
        if mistake := addresses.mistake(self.url):
            return mistake
        if "@" in self.url.split("/")[2]:
            return "write no user name or password into the address: a configuration is for everybody"
        if set(self.url) & set('"\\'):
            return f"'{self.url}' holds a quotation mark or a backslash; write %22 or %5C"
        if self.url.startswith("http://") and not self.sha256:
            return f"'{self.url}' is not protected on its way; write https://, or give its sha256"
        return ""

    def _sha256(self) -> str:
        if re.fullmatch(r"[0-9a-f]{64}|", self.sha256):
            return ""
        return f"'{self.sha256}' is no SHA-256; all 64 digits (0 to 9, a to f) are needed"

    def _path(self) -> str:
        parts = rf"{_PART}(?:/{_PART})*" if self.root != NOTEBOOK else _PART
        if re.fullmatch(parts, self.path):
            return ""
        if self.root == NOTEBOOK:
            return f"'{self.path}' is no file name; the notebook itself chooses the folder"
        return f"'{self.path}' is no path below the library's folder, such as hub/checkpoints/vgg16.pth"

    def value(self) -> Weights:
        return Weights(url=self.url, sha256=self.sha256, root=self.root, path=self.path)


def listed(entries: tuple[WeightsEntry, ...]) -> tuple[WeightsEntry, ...]:
    """The same entries; ValueError if two of them are for one place."""
    places = [(one.root, one.url if one.root == NOTEBOOK else one.path) for one in entries]
    twice = sorted({" ".join(place) for place in places if places.count(place) > 1})
    if twice:
        raise ValueError(f"listed twice: {', '.join(twice)}")
    return entries
