# SPDX-License-Identifier: Apache-2.0
"""The machine in plain Python: jobs on a memory by the reference models, and a Transport over it.

    acc = Accelerator(ModelTransport(Config.from_name("paper")))

It takes everything from the bytes in memory, by the documents of registers, buffers and table of
heads and not by the code of the host driver, so that the driver can be tested without a simulator.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from .. import dlzs, fast, head, kvgen, layer, rass, rope, sufa
from ..config import Config, ConfigError
from ..head import KeySource
from ..spec import registers as regs
from . import counters
from .transport import Memory, Transport, TransportError

DESCRIPTOR_WORDS = 64
SELECTS = {(0, 0): head.SUM, (0, 1): head.SORT, (1, 0): head.DENSE}
READS = {"Q": 0, "K8": 1, "X8": 1, "K": 2, "V": 3}
"""Buffer of an attention job on K and V in memory -> its stream, as ERROR.INFO gives it."""


class Fault(Exception):
    """The memory has no such address. code, info: as register ERROR has them."""

    def __init__(self, code: int, info: int):
        super().__init__(f"{regs.error_text(code)}, info {info}")
        self.code, self.info = code, info


class Machine:
    """Runs jobs on ``memory``. jobs: how many it has completed; counters: name -> count over all of
    them, of those that do not hang on time."""

    def __init__(self, memory: Memory, cfg: Config):
        self.memory, self.cfg, self.jobs = memory, cfg, 0
        self.counters = dict.fromkeys(regs.COUNTERS, 0)

    def run(self, address):
        """Run the chain of descriptors at an address; Fault, ConfigError as job()."""
        while address:
            try:
                words = self.memory.dump(address, DESCRIPTOR_WORDS, "<u4")
            except IndexError:
                raise Fault(regs.Err.READ_DECERR, 7) from None
            self._count({"BEATS_D": 4 * DESCRIPTOR_WORDS // self.cfg.BUS_BYTES})
            self.job({name: int(word) for name, word in zip(regs.JOB, words, strict=False)})
            address = int(words[18]) | int(words[19]) << 32

    def job(self, fields):
        """Run the job of these registers, name -> value.

        Raises:
            Fault: the memory ends before a buffer does.
            ConfigError: the job is not legal.
        """
        self.fields = fields
        mode = fields["MODE"]
        if mode >> 6 & 1:
            self._predict(mode)
        else:
            self._attend(mode)
        self.jobs += 1

    def _count(self, counts):
        for name, n in counts.items():
            self.counters[name] += n

    def _where(self, name, at, row):
        f = self.fields
        base = f[f"{name}_BASE_LO"] | f[f"{name}_BASE_HI"] << 32
        stride = (f[f"{name}_ROW_STRIDE"], f[f"{name}_HEAD_STRIDE"])
        address = base + at * stride[1] + row * stride[0]
        if address % self.cfg.BUS_BYTES:
            raise ConfigError(f"{name} at {address:#x}, legal: multiples of {self.cfg.BUS_BYTES}")
        return address

    def _stream(self, name):
        """Stream of a buffer that is read."""
        mode = self.fields["MODE"]
        if mode >> 6 & 1:
            return {"WC": 4, "RT": 5}.get(name, 1)
        return READS.get(name, 3) if not mode >> 5 & 1 or name in ("Q", "K8") else {
            "K": 2, "V": 3}.get(name, 6)

    def _read(self, name, shape, kind):
        heads, rows, d = shape
        try:
            lines = [[self.memory.dump(self._where(name, h, r), d, kind) for r in range(rows)]
                     for h in range(heads)]
        except IndexError:
            raise Fault(regs.Err.READ_DECERR, self._stream(name)) from None
        return np.array(lines).reshape(shape)

    def _write(self, name, array):
        for h, r in np.ndindex(array.shape[:2]):
            self._put(name, h, r, array[h, r])

    def _put(self, name, at, row, values):
        try:
            self.memory.load(self._where(name, at, row), values)
        except IndexError:
            raise Fault(regs.Err.WRITE_DECERR, int(name != "O")) from None

    def _predict(self, mode):
        f, cfg = self.fields, self.cfg
        keys, h, d, kv_heads = f["KEYS"], f["MODEL_DIM"], f["HEAD_DIM"], f["KV_HEADS"]
        pairing = mode >> 7 & 3
        x8 = self._read("X8", (1, keys, h), "i1")[0]
        rt = self._read("RT", (1, keys, d), "<i2")[0] if pairing else None
        chunks = dlzs.chunks(kv_heads, d, cfg)
        header = max(cfg.ROWS // 2, cfg.BUS_BYTES)
        packed = self._read("WC", (len(chunks), 1, header + h * cfg.ROWS // 2), "u1")[:, 0]
        entries = np.ascontiguousarray(packed[:, :header]).view("<u4").astype(int)
        packed = packed[:, header:].reshape(len(chunks), h, -1)
        words = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(chunks), h, cfg.ROWS)
        codes, order = np.zeros((kv_heads, h, d), np.uint8), rope.pair_dims(d, pairing)
        numbers = np.zeros((kv_heads, d), int)
        for chunk, rows in enumerate(chunks):
            for r, (kv, place) in enumerate(rows):
                codes[kv, :, order[place]] = words[chunk, :, r]
                numbers[kv, place] = entries[chunk, r // 8]
        if (numbers != numbers[:, :1]).any():
            raise ConfigError("chunks of a KV head with different headers, legal: equal ones")
        self._write("K8", np.stack([
            dlzs.predict_keys(x8, one, cfg, min(n & 15, 8), (n >> 16) - (n >> 31 << 16),
                              n >> 4 & 15, pairing, rt)
            for one, n in zip(codes, numbers[:, 0].tolist(), strict=True)]))
        self._count(counters.beats(layer.prediction_stats(keys, kv_heads, h, d, pairing, cfg), cfg))

    def _attend(self, mode):
        f, cfg = self.fields, self.cfg
        heads, kv_heads, rows = f["HEADS"], f["KV_HEADS"], f["QUERY_ROWS"]
        keys, d, snap = f["KEYS"], f["HEAD_DIM"], mode >> 3 & 3
        select = SELECTS[mode & 1, mode >> 10 & 1]
        table, shifts = [], []
        for h in range(heads):
            try:
                raw = bytes(self.memory.dump(self._where("X8", h, 0), 16))
            except IndexError:
                raise Fault(regs.Err.READ_DECERR, 7) from None
            if raw[12:] != bytes(4) or not mode >> 5 & 1 and raw[6:8] != bytes(2):
                raise ConfigError(f"entry {h} of the table of heads is {raw.hex()}, legal: 0 in "
                                  f"what is not used")
            shifts.append(raw[6:8])
            table.append(head.HeadTable(
                raw[0] | raw[1] << 8, raw[2], raw[3], int.from_bytes(raw[4:6], "little",
                                                                     signed=True),
                int.from_bytes(raw[8:12], "little")))
        job = head.Job(
            d=d, bc=f["TILE_KEYS"], table=tuple(table), band=f["BAND"], select=select,
            quota=f["QUOTA"] if select == head.SORT else 1, fall=f["FALL"], snap=snap,
            window=f["WINDOW"] >> regs.lsb("WINDOW", "WINDOW") & 0x1FFFF,
            sinks=f["WINDOW"] >> regs.lsb("WINDOW", "SINKS") & 0x7F, causal=bool(mode >> 1 & 1),
            offset=f["CAUSAL_OFFSET"], interleaved=not mode >> 2 & 1, blend=bool(mode >> 11 & 1),
            share=bool(mode >> 12 & 1))
        if job.blend and select:
            raise ConfigError("MODE.BLEND with DENSE or SORT, legal: one of them")
        q = self._read("Q", (heads, rows, d), "<i2")
        k8 = None if mode & 1 else self._read("K8", (kv_heads, keys, d), "i1")
        shape, blocks = (kv_heads, keys, d), -(-rows // cfg.ROWS)
        if mode >> 5 & 1:
            k, v, means, valid = self._generate(mode, shape, blocks, job,
                                                shifts[:: heads // kv_heads])
        else:
            k, v = (self._read(name, shape, "<i2") for name in ("K", "V"))
            means = np.zeros((kv_heads, blocks, d), np.int16)
            if job.blend:
                means = self._read("WC", means.shape, "<i2") >> 16 - cfg.VM_W
        run = fast.run_job if fast.available() else head.run_job
        done = run(q, k, v, k8, means, job, cfg)
        self._write("O", done.out)
        if not mode >> 5 & 1:
            self._count(counters.job_counters(done.selected, done.updates, kv_heads, job, cfg)[1])
            return
        sources = [KeySource(a, b, c) for a, b, c in zip(k, v, valid, strict=True)]
        walk = head.parts(heads, kv_heads, rows, keys, job, cfg)
        issued = rass.issue(done.selected, walk, sources, job)
        for turn in issued:
            kv = turn.part.kv
            for key in turn.made:
                self._put("K", kv, key, k[kv, key])
                self._put("V", kv, key, v[kv, key])
        for kv, bits in enumerate(layer.pack_valid(valid, cfg)):
            self._put("VB", kv, 0, bits)
        # What counts of a layer ask of its plan.
        shape = SimpleNamespace(job=job, q=q, heads=heads, kv_heads=kv_heads, keys=keys, d=d,
                                h=f["MODEL_DIM"], mode=mode >> 7 & 3)
        stats = layer.count(shape, done, walk, issued, bool(mode >> 9 & 1), cfg)
        self._count(counters.generate_counters(shape, stats, done.updates, cfg))

    def _generate(self, mode, shape, blocks, job, shifts):
        """K, V, means and the keys that exist at first; shifts: (of K, of V) of each KV head."""
        f, cfg = self.fields, self.cfg
        kv_heads, keys, d = shape
        h, pairing = f["MODEL_DIM"], mode >> 7 & 3
        x = self._read("X", (1, keys, h), "<i2")[0]
        rt = self._read("RT", (1, keys, d), "<i2")[0] if pairing else None
        passes = -(-2 * d // cfg.ROWS)
        w = self._read("W", (kv_heads, 1, passes * h * cfg.ROWS), "<i2")
        w = w.reshape(kv_heads, passes, h, cfg.ROWS).swapaxes(1, 2).reshape(kv_heads, h, -1)
        order, made = rope.pair_dims(d, pairing), []
        means = np.zeros((kv_heads, blocks, d), np.int16)
        for kv in range(kv_heads):
            wk, wv = np.zeros((h, d), np.int16), w[kv, :, d : 2 * d]
            wk[:, order] = w[kv, :, :d]
            made.append(kvgen.project(x, wk, wv, *shifts[kv], pairing, rt))
            if job.blend:
                xm = self._read("WC", (1, blocks, h), "<i2")[0]
                means[kv] = sufa.cut(kvgen.narrow(kvgen.sums(xm, wv), shifts[kv][1]), cfg.VM_W)
        k, v = (np.stack(part) for part in zip(*made, strict=True))
        valid = np.zeros((kv_heads, keys), bool)
        if mode >> 9 & 1:
            size = -(-keys // 8)
            bits = self._read("VB", (kv_heads, 1, size), "u1")[:, 0]
            valid = np.unpackbits(bits, axis=1, bitorder="little")[:, :keys].astype(bool)
            for name, array in (("K", k), ("V", v)):
                there = self._read(name, shape, "<i2")
                array[valid] = there[valid]
        return k, v, means, valid


class ModelTransport(Transport):
    """The reference models behind registers: a job has ended when the write that starts it returns,
    and takes no cycles; counters of cycles read 0.

    An address outside the memory ends a job with error READ_DECERR or WRITE_DECERR. Starting a job
    that is not legal raises ConfigError, which says more than register ERROR of the machine.
    """

    def __init__(self, cfg: Config, *, memory_bytes: int = 1 << 24):
        self.cfg = cfg
        self.memory = Memory(np.zeros(memory_bytes, np.uint8))
        self._clear()

    def _clear(self):
        self._values = {name: regs.BY_NAME[name].reset or 0 for name in regs.OFFSETS}
        for name in regs.OFFSETS:
            if name.startswith("CAP_"):
                self._values[name] = getattr(self.cfg, name.removeprefix("CAP_"))

    async def reset(self):
        self._clear()

    async def read(self, offset):
        return self._values[self._name(offset)]

    async def write(self, offset, value):
        name = self._name(offset)
        value &= (1 << regs.BY_NAME[name].used) - 1
        if regs.BY_NAME[name].access == "RW":
            # Buffers that never meet in a job have registers in common.
            for other in (n for n, o in regs.OFFSETS.items() if o == offset):
                self._values[other] = value
        elif name == "IRQ_STATUS":
            self._values[name] &= ~value
        elif name == "CTRL" and value:
            self._start(value)

    async def interrupt(self, limit):
        return bool(self._values["IRQ_STATUS"] & self._values["IRQ_ENABLE"])

    def _name(self, offset):
        for name, at in regs.OFFSETS.items():
            if at == offset:
                return name
        raise TransportError(f"register {offset:#x}: SLVERR")

    def _start(self, bits):
        if bits not in (1 << regs.lsb("CTRL", "START"), 1 << regs.lsb("CTRL", "START_CHAIN"),
                        1 << regs.lsb("CTRL", "SOFT_RESET")):
            raise TransportError(f"write of {bits:#x} to CTRL: SLVERR")
        if bits == 1 << regs.lsb("CTRL", "SOFT_RESET"):
            return
        values, machine = self._values, Machine(self.memory, self.cfg)
        error = 0
        try:
            if bits == 1 << regs.lsb("CTRL", "START"):
                machine.job({name: values[name] for name in regs.JOB})
            machine.run(values["NEXT_LO"] | values["NEXT_HI"] << 32)
        except Fault as fault:
            error = fault.code | fault.info << regs.lsb("ERROR", "INFO")
        values |= {f"CNT_{name}": n for name, n in machine.counters.items()}
        values |= {"JOBS": machine.jobs, "ERROR": error, "STATUS": 1 << (
            regs.lsb("STATUS", "ERROR") if error else regs.lsb("STATUS", "DONE"))}
        values["IRQ_STATUS"] |= 1 << (regs.lsb("IRQ_STATUS", "ERROR") if error
                                      else regs.lsb("IRQ_STATUS", "DONE"))
