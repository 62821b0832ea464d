# SPDX-License-Identifier: Apache-2.0
"""The C driver of sw/ against the Python driver and on the compiled machine."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from models import head
from models.config import Config
from models.driver.accelerator import Accelerator
from models.driver.compiled import CompiledTransport, compile_machine
from models.driver.images import descriptor_image, table_image
from models.plan import plan
from models.spec import registers as regs
from tb.driver.test_driver import JOBS, tensors
from tb.runner import ROOT

CFG = Config.from_name("tiny")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
OK, BUSY, FAILED, IDLE, FOREIGN = range(5)

READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32,
                        ctypes.POINTER(ctypes.c_uint32))
WRITE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)


class Sofa(ctypes.Structure):
    _fields_ = [("context", ctypes.c_void_p), ("read", READ), ("write", WRITE)]


class Job(ctypes.Structure):
    _fields_ = [("word", ctypes.c_uint32 * 64)]


class Buffer(ctypes.Structure):
    _fields_ = [("base", ctypes.c_uint64), ("row", ctypes.c_uint32), ("head", ctypes.c_uint32)]


class Head(ctypes.Structure):
    _fields_ = [("mult", ctypes.c_uint16), ("shift", ctypes.c_uint8), ("octave", ctypes.c_uint8),
                ("tau", ctypes.c_int16), ("k", ctypes.c_uint8), ("v", ctypes.c_uint8),
                ("radius", ctypes.c_uint32)]


class End(ctypes.Structure):
    _fields_ = [("jobs", ctypes.c_uint32), ("code", ctypes.c_uint8), ("info", ctypes.c_uint8),
                ("lost", ctypes.c_uint8)]


@pytest.fixture(scope="module")
def c(tmp_path_factory):
    """The driver as a library."""
    path = tmp_path_factory.mktemp("sw") / "sofa.so"
    subprocess.run(["gcc", *STRICT, "-ffreestanding", "-shared", "-fPIC", "-o", str(path),
                    *(str(ROOT / "sw" / name) for name in ("sofa.c", "sofa_errors.c"))], check=True)
    library = ctypes.CDLL(str(path))
    library.sofa_packed.restype = Buffer
    library.sofa_packed.argtypes = [ctypes.c_uint64, *[ctypes.c_uint32] * 3]
    library.sofa_job_buffer.argtypes = [ctypes.POINTER(Job), ctypes.c_uint32, Buffer]
    library.sofa_job_next.argtypes = [ctypes.POINTER(Job), ctypes.c_uint64]
    library.sofa_error_text.restype = ctypes.c_char_p
    library.sofa_start_chain.argtypes = [ctypes.POINTER(Sofa), ctypes.c_uint64]
    return library


class Core:
    """A compiled machine with the C driver on its registers and the Python driver on its memory."""

    def __init__(self, c, **options):
        self.c = c
        self.transport = CompiledTransport(CFG, memory_bytes=1 << 18, **options)
        self.acc = Accelerator(self.transport)
        library = self.transport._library
        self.sofa = Sofa(self.transport._machine, ctypes.cast(library.sofa_read, READ),
                         ctypes.cast(library.sofa_write, WRITE))
        assert self.irq_enable(0) == OK

    def __getattr__(self, name):
        function = getattr(self.c, f"sofa_{name}")
        return lambda *arguments: function(ctypes.byref(self.sofa), *arguments)

    def ended(self, of="poll", limit=100_000):
        """(what a function of the end returns, End) once the machine is not busy."""
        end = End()
        for _ in range(limit // 10):
            result = getattr(self, of)(ctypes.byref(end))
            if result not in (BUSY, IDLE):
                return result, end
            self.transport._library.sofa_wait(self.transport._machine, 10)
        raise AssertionError("it does not end")

    def job(self, fields):
        """A job of the C driver with these registers, set by its functions."""
        job = Job((ctypes.c_uint32 * 64)(*[0xFFFFFFFF] * 64))
        self.c.sofa_job_clear(ctypes.byref(job))
        for name, value in fields.items():
            if not re.search("_(BASE_LO|BASE_HI|ROW_STRIDE|HEAD_STRIDE)$", name):
                self.c.sofa_job_set(ctypes.byref(job), regs.OFFSETS[name], value)
            elif name.endswith("BASE_LO"):
                of = name.removesuffix("BASE_LO")
                self.c.sofa_job_buffer(
                    ctypes.byref(job), regs.OFFSETS[name],
                    Buffer(value | fields[of + "BASE_HI"] << 32, fields[of + "ROW_STRIDE"],
                           fields[of + "HEAD_STRIDE"]))
        return job

    def image(self, job):
        """Its descriptor."""
        image = (ctypes.c_uint8 * 256)()
        self.c.sofa_job_write(ctypes.byref(job), image)
        return np.array(image)


def output(acc, one):
    f = one.fields
    return acc.gather(f["O_BASE_LO"] | f["O_BASE_HI"] << 32, f["O_ROW_STRIDE"],
                      f["O_HEAD_STRIDE"], (one.heads, one.rows, one.d))


def reference(numbers, job):
    return head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, CFG).out


def test_images(c):
    core, rng = Core(c), np.random.default_rng(1)
    for settings in JOBS.values():
        core.acc.free_all()
        numbers, job = plan(*tensors(CFG, rng), CFG, **settings)
        fields = core.acc.describe(numbers, job).fields | {"O_BASE_HI": 0xAB}
        made = core.job(fields)
        core.c.sofa_job_next(ctypes.byref(made), 0x123456789A00)
        want = descriptor_image({**fields, "NEXT_LO": 0x56789A00, "NEXT_HI": 0x1234})
        assert np.array_equal(core.image(made), want) and want.any()
        for entry, line in zip(job.table, table_image(job, CFG)[:, 0], strict=True):
            image, radius = (ctypes.c_uint8 * 16)(*[255] * 16), int.from_bytes(line[8:12], "little")
            c.sofa_head_write(ctypes.byref(Head(entry.scale_m, entry.scale_shift, entry.octave,
                                                entry.tau, 0, 0, radius)), image)
            assert np.array_equal(image, line)
    image = (ctypes.c_uint8 * 16)()
    c.sofa_head_write(ctypes.byref(Head(0x1234, 7, 3, -146, 9, 8, 0x16003FFF)), image)
    assert bytes(image).hex() == "341207036eff0908ff3f001600000000"
    packed = c.sofa_packed(0xAB00000000, 9, 3, 8)
    assert (packed.base, packed.row, packed.head) == (0xAB00000000, 16, 48)


def test_poll_and_interrupt(c):
    core, rng, end = Core(c), np.random.default_rng(2), End()
    assert core.probe() == OK and core.poll(ctypes.byref(end)) == IDLE
    for settings in JOBS.values():
        core.acc.free_all()
        made = plan(*tensors(CFG, rng), CFG, **settings)
        one = core.acc.describe(*made)
        assert core.start(ctypes.byref(core.job(one.fields))) == OK
        assert core.poll(ctypes.byref(end)) == BUSY
        result, end = core.ended()
        assert (result, end.jobs, end.code, end.info, end.lost) == (OK, 1, 0, 0, 0)
        np.testing.assert_array_equal(output(core.acc, one), reference(*made))
    # Two as a chain, by the interrupt, which the polled ones have left behind.
    assert core.irq_enable(1) == OK and core.irq(ctypes.byref(end)) == OK
    assert core.irq(ctypes.byref(end)) == IDLE
    core.acc.free_all()
    made = [plan(*tensors(CFG, rng), CFG, **settings) for settings in ({}, {"causal": True})]
    placed = [core.acc.describe(*one) for one in made]
    first = core.acc.allocate(512, 256)
    for i, one in enumerate(placed):
        job = core.job(one.fields)
        core.c.sofa_job_next(ctypes.byref(job), 0 if i else first + 256)
        core.acc.memory.load(first + 256 * i, core.image(job))
    assert core.start_chain(first) == OK
    assert core.transport._library.sofa_wait(core.transport._machine, 200_000)
    assert core.irq(ctypes.byref(end)) == OK and end.jobs == 2
    assert not core.transport._library.sofa_wait(core.transport._machine, 10)
    for one, numbers in zip(placed, made, strict=True):
        np.testing.assert_array_equal(output(core.acc, one), reference(*numbers))


def test_errors(c):
    core, end = Core(c), End()
    one = core.acc.describe(*plan(*tensors(CFG, np.random.default_rng(3)), CFG))
    memory_end = core.acc.memory.base + len(core.acc.memory.data)
    for change, code, info in (({"BAND": 9}, regs.Err.BAND, 0),
                               ({"K_BASE_LO": memory_end}, regs.Err.READ_DECERR, 2),
                               ({"O_BASE_LO": memory_end}, regs.Err.WRITE_DECERR, 0)):
        assert core.start(ctypes.byref(core.job({**one.fields, **change}))) == OK
        result, end = core.ended()
        assert (result, end.jobs, end.code, end.info, end.lost) == (FAILED, 0, code, info, 0)
    assert core.start(ctypes.byref(core.job(one.fields))) == OK
    # A second start is refused, with the response of the bus.
    assert core.start(ctypes.byref(core.job(one.fields))) == 2
    assert core.abort() == OK
    result, end = core.ended()
    assert (result, end.code) == (FAILED, regs.Err.ABORTED)
    assert core.start_chain(memory_end) == OK and core.irq_enable(1) == OK
    result, end = core.ended("irq")
    assert (result, end.code, end.info) == (FAILED, regs.Err.READ_DECERR, 7)


def test_other_registers(c):
    """Registers in memory, one that is no machine, a bus that fails."""
    words = (ctypes.c_uint32 * 1024)()
    c.sofa_mmio.restype, c.sofa_mmio.argtypes = Sofa, [ctypes.c_void_p]
    sofa = c.sofa_mmio(ctypes.addressof(words))
    assert c.sofa_probe(ctypes.byref(sofa)) == FOREIGN
    words[0], words[1] = regs.ID_VALUE, regs.VERSION_VALUE + 5
    assert c.sofa_probe(ctypes.byref(sofa)) == OK
    words[1] += 1 << 16
    assert c.sofa_probe(ctypes.byref(sofa)) == FOREIGN
    assert c.sofa_irq_enable(ctypes.byref(sofa), 1) == OK
    assert words[regs.OFFSETS["IRQ_ENABLE"] // 4] == 3
    fails = Sofa(None, READ(lambda context, offset, value: -5), WRITE(lambda *a: -6))
    end = End()
    assert c.sofa_probe(ctypes.byref(fails)) == c.sofa_poll(
        ctypes.byref(fails), ctypes.byref(end)) == -5
    assert c.sofa_start(ctypes.byref(fails), ctypes.byref(Job())) == c.sofa_abort(
        ctypes.byref(fails)) == -6


def test_sentences(c):
    """Every code has the sentence of the table."""
    for code in range(256):
        want = regs.error_text(code) if code in regs.ERRORS else "unknown error code"
        assert c.sofa_error_text(code).decode() == want


def test_example(tmp_path):
    """The commands of docs/driver.md: one head by a C program, equal to the model."""
    page = (ROOT / "docs" / "driver.md").read_text().partition("## From C")[2]
    commands = "\n".join(re.findall(r"^    (.*)", page, re.M)[:3])
    assert "one_head" in commands
    compile_machine(CFG)
    done = subprocess.run(["bash", "-e", "-c", commands.replace("build/one_head",
                                                                str(tmp_path / "one_head"))],
                          cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    got = np.array([line.split() for line in done.stdout.splitlines()], int)
    assert int(re.search(r"(\d+) cycles", done.stderr)[1]) > 1000

    seed = 1

    def elements(rows):
        nonlocal seed
        values = []
        for _ in range(rows * 16):
            seed = (seed * 1103515245 + 12345) & 0xFFFFFFFF
            values.append((seed >> 16) % 4001 - 2000)
        return np.array(values, np.int16).reshape(1, rows, 16)

    q, k, v = elements(12), elements(40), elements(40)
    job = head.Job(16, 16, (head.HeadTable(32768, 17, 3, -144),), causal=True, offset=28,
                   blend=False)
    want = head.run_job(q, k, v, (k >> 4).astype(np.int8), np.zeros((1, 3, 16), np.int16), job, CFG)
    np.testing.assert_array_equal(got, want.out[0])
    assert 0.05 < want.selected.mean() < 0.7


def test_sources_are_strict():
    for path in (*(ROOT / "sw").rglob("*.c"), *(ROOT / "sw").rglob("*.h")):
        assert path.read_text().startswith("/* SPDX-License-Identifier: Apache-2.0 */"), path
        if path.suffix == ".c":
            subprocess.run(["gcc", *STRICT, "-I", str(ROOT / "sw"), "-fsyntax-only", str(path)],
                           check=True)
        else:
            # A header stands by itself, and in C++.
            for language in ("c", "c++"):
                subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x",
                                language, "-I", str(ROOT / "sw"), "-"], text=True, check=True,
                               input=f'#include "{Path(path)}"\n')
