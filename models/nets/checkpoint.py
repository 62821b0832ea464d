# SPDX-License-Identifier: Apache-2.0
"""Reads the tensors of a PyTorch checkpoint with numpy alone, without running code from it.

A checkpoint is a pickle whose tensors name storages, which follow outside the pickle: as members
of a zip archive (torch 1.6 and later) or behind it in the same file (before). The pickle may call
only what is listed in _ALLOWED, so that a spoilt file cannot run anything. Tensors become numpy
arrays in their own type.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np

from .sources import NetError

_TYPES = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
}

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


class _Storage:
    """Numbers that tensors share; data is filled in when it has been read."""

    def __init__(self, dtype: np.dtype, length: int):
        self.dtype, self.length = dtype, length
        self.data = np.zeros(length, dtype)

    def fill(self, raw: bytes) -> None:
        """Take the bytes of the storage, in place, as tensors already refer to it."""
        if len(raw) != self.data.nbytes:
            raise NetError(f"checkpoint: a storage has {len(raw)} bytes, not {self.data.nbytes}")
        self.data[:] = np.frombuffer(raw, self.dtype)


def _tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, *_) -> np.ndarray:
    """A view into a storage; offset and strides count elements."""
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if offset < 0 or min((0, *size, *stride)) < 0 or last >= storage.length:
        raise NetError(f"checkpoint: tensor of size {size} lies outside its storage")
    step = storage.dtype.itemsize
    return np.ndarray(size, storage.dtype, storage.data, offset * step, [s * step for s in stride])


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    **{("torch", name): dtype for name, dtype in _TYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Restricted to _ALLOWED; storages are collected by their key."""

    def __init__(self, source: io.BufferedIOBase):
        super().__init__(source)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str):
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise NetError(f"checkpoint: {module}.{name} is not allowed") from None

    def persistent_load(self, pid: tuple) -> _Storage:
        kind, dtype, key, _, length = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise NetError(f"checkpoint: unknown reference {kind!r}")
        return self.storages.setdefault(key, _Storage(dtype, length))


def load(content: bytes):
    """What torch.save was given, of the bytes of its file; NetError where it is no checkpoint."""
    try:
        source = io.BytesIO(content)
        return _load_zip(source) if zipfile.is_zipfile(source) else _load_legacy(source)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, IndexError) as exc:
        raise NetError(f"not a readable checkpoint: {exc}") from exc


def _load_zip(source: io.BytesIO):
    with zipfile.ZipFile(source) as archive:
        [name] = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        reader = _Unpickler(io.BytesIO(archive.read(name)))
        content = reader.load()
        for key, storage in reader.storages.items():
            storage.fill(archive.read(f"{name.removesuffix('data.pkl')}data/{key}"))
    return content


def _load_legacy(source: io.BytesIO):
    source.seek(0)
    if _Unpickler(source).load() != _LEGACY_MAGIC:
        raise NetError("not a readable checkpoint: no magic number")
    _Unpickler(source).load()  # protocol version
    _Unpickler(source).load()  # byte order and type sizes of the writer
    reader = _Unpickler(source)
    content = reader.load()
    for key in _Unpickler(source).load():
        storage = reader.storages[key]
        length = int(np.frombuffer(source.read(8), "<i8")[0])
        if length != storage.length:
            raise NetError(f"checkpoint: storage {key} holds {length}, not {storage.length}")
        storage.fill(source.read(length * storage.dtype.itemsize))
    return content
