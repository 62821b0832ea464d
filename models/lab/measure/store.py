# SPDX-License-Identifier: Apache-2.0
"""Results on disk, found by content: what was measured, on what, and by which code.

    store = Store(Path("build/lab/results"))
    key = digest({"setting": describe(method), "code": code_digest(type(method).__module__)})
    if store.get(key) is None:
        store.put(key, measure())

A result is one JSON file (arrays: one .npz file) that appears whole or not at all, so a killed
process leaves nothing half written. A file that does not hold what its name promises is never
measured over in silence: reading it raises StoreError.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import uuid
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
FORMAT = 1
"""Version of the result files; a change of their fields raises it, which makes them all new."""


class StoreError(RuntimeError):
    """Something the user can act on, in one sentence."""


def digest(value: object) -> str:
    """SHA-256 of a value made of dictionaries, lists, numbers, strings and None."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def describe(value: object) -> object:
    """A method, or anything that a field of one may hold, as plain JSON: dataclasses become their
    class and fields, arrays their shape, type and SHA-256. ValueError for what has no such form."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        return {"class": f"{kind.__module__}.{kind.__qualname__}",
                "fields": {f.name: describe(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, np.ndarray):
        data = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": [list(value.shape), str(value.dtype), data]}
    if isinstance(value, dict):
        return {str(k): describe(v) for k, v in sorted(value.items(), key=lambda kv: str(kv[0]))}
    if isinstance(value, list | tuple):
        return [describe(v) for v in value]
    if isinstance(value, np.generic):
        return describe(value.item())
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"a setting of type {type(value).__name__} cannot be named in a cache key")


# ---- Code ------------------------------------------------------------------------------------


def module_file(name: str) -> Path | None:
    """File of a module of this repository, None for modules from elsewhere."""
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def absolute(node: ast.ImportFrom, package: tuple[str, ...]) -> None:
    """Make an import in a module of this package absolute: what it is hashed and looked up as."""
    if node.level:
        above = package[: len(package) - node.level + 1]
        node.module, node.level = ".".join([*above, *filter(None, [node.module])]), 0


@functools.cache
def parsed(path: Path) -> tuple[str, tuple[str, ...]]:
    """(the program without comments and docstrings as text, modules that it may import)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wanted = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            absolute(node, path.relative_to(ROOT).parent.parts)
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                wanted.append(inner if module_file(inner) else node.module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A string alone is a docstring or the note below a constant.
            node.body = [n for n in node.body if not (
                isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
                and isinstance(n.value.value, str))]
    return ast.dump(tree), tuple(dict.fromkeys(wanted))


def sources(module: str, without: tuple[str, ...] = ()) -> dict[str, Path]:
    """The module and all that it imports from this repository, directly or not, but for those of
    ``without`` and what only they import: name -> file.

    Packages count only where something is imported out of their __init__ itself, so that a list of
    all methods in an __init__ does not tie their results together.
    """
    found: dict[str, Path] = {}
    left = [module]
    while left:
        name = left.pop()
        path = module_file(name)
        if path is None or name in found or name in without:
            continue
        found[name] = path
        left += parsed(path)[1]
    return found


def code_digest(*modules: str) -> str:
    """SHA-256 of the programs of the modules and of all they import from this repository.
    Comments and docstrings do not count."""
    found = {}
    for module in modules:
        found.update(sources(module))
    return digest({name: parsed(path)[0] for name, path in sorted(found.items())})


# ---- Files -----------------------------------------------------------------------------------


def write_whole(path: Path, write) -> None:
    """Call write(binary file) such that ``path`` appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".part-{uuid.uuid4().hex}"
    try:
        with part.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


class Store:
    """A folder of results."""

    def __init__(self, root: Path):
        self.root = Path(root)

    def path(self, key: str, suffix: str = ".json") -> Path:
        """File of a key."""
        return self.root / f"{key[:32]}{suffix}"

    @staticmethod
    def corrupt(path: Path, why: object) -> StoreError:
        """What to tell the user about a file that cannot be used."""
        return StoreError(f"{path} is not a whole result ({why}): remove it and run again")

    def has(self, key: str, suffix: str = ".json") -> bool:
        """True where a file of the key exists, whole or not."""
        return self.path(key, suffix).is_file()

    def get(self, key: str) -> dict | None:
        """The result of a key, None where there is none; StoreError for a corrupt file."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, UnicodeDecodeError) as error:
            raise self.corrupt(path, error) from None
        if not isinstance(record, dict) or record.get("key") != key or "result" not in record:
            raise self.corrupt(path, "its key or its result is not there")
        if record.get("check") != digest(record["result"]):
            raise self.corrupt(path, "its check sum is wrong")
        return record["result"]

    def put(self, key: str, result: dict) -> None:
        """Store a result (plain JSON)."""
        record = {"key": key, "check": digest(result), "result": result}
        text = json.dumps(record, indent=1, sort_keys=True)
        write_whole(self.path(key), lambda file: file.write(text.encode()))

    def get_arrays(self, key: str) -> dict[str, np.ndarray] | None:
        """Arrays of a key, None where there are none; StoreError for a corrupt file."""
        path = self.path(key, ".npz")
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except Exception as error:  # zipfile, zlib, numpy and pickle each have their own
            raise self.corrupt(path, error) from None

    def put_arrays(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        """Store named arrays."""
        write_whole(self.path(key, ".npz"), lambda file: np.savez(file, **arrays))
