# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the machine in plain Python: runs a chain of descriptors on a memory by the
reference models.

It takes everything from the bytes in memory, by the documents of registers, buffers and table of
heads and not by the code of the host driver, so that the driver can be tested without a simulator.
"""

from __future__ import annotations

import numpy as np

from models import dlzs, head, kvgen, rass, regs, rope, sufa
from models.config import Config
from models.head import KeySource

DESCRIPTOR_WORDS = 64
SELECTS = {(0, 0): head.SUM, (0, 1): head.SORT, (1, 0): head.DENSE}


class Memory:
    """Bytes with the interface of AxiMemory that the host driver uses."""

    def __init__(self, size):
        self.base, self.data = 0x1000, np.zeros(size, np.uint8)

    def load(self, address, values):
        raw = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
        self.data[address - self.base :][: len(raw)] = raw

    def dump(self, address, count, dtype=np.uint8):
        size = count * np.dtype(dtype).itemsize
        return self.data[address - self.base :][:size].copy().view(dtype)


class Machine:
    """Runs jobs on ``memory``. counters: name -> count, of those that the models give."""

    def __init__(self, memory: Memory, cfg: Config):
        self.memory, self.cfg, self.jobs = memory, cfg, 0

    def run(self, address):
        """Run the chain of descriptors at an address."""
        while address:
            words = self.memory.dump(address, DESCRIPTOR_WORDS, "<u4")
            self.job({name: int(word) for name, word in zip(regs.JOB, words, strict=False)})
            self.jobs += 1
            address = int(words[18]) | int(words[19]) << 32

    def job(self, fields):
        """Run the job of these registers, name -> value."""
        self.fields = fields
        mode = fields["MODE"]
        if mode >> 6 & 1:
            self._predict(mode)
        else:
            self._attend(mode)

    def _where(self, name, at, row):
        f = self.fields
        base = f[f"{name}_BASE_LO"] | f[f"{name}_BASE_HI"] << 32
        stride = (f[f"{name}_ROW_STRIDE"], f[f"{name}_HEAD_STRIDE"])
        address = base + at * stride[1] + row * stride[0]
        assert not address % self.cfg.BUS_BYTES
        return address

    def _read(self, name, shape, kind):
        heads, rows, d = shape
        lines = [[self.memory.dump(self._where(name, h, r), d, kind) for r in range(rows)]
                 for h in range(heads)]
        return np.array(lines).reshape(shape)

    def _write(self, name, array):
        for h, r in np.ndindex(array.shape[:2]):
            self.memory.load(self._where(name, h, r), array[h, r])

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
        assert (numbers == numbers[:, :1]).all()
        self._write("K8", np.stack([
            dlzs.predict_keys(x8, one, cfg, min(n & 15, 8), (n >> 16) - (n >> 31 << 16),
                              n >> 4 & 15, pairing, rt)
            for one, n in zip(codes, numbers[:, 0].tolist(), strict=True)]))

    def _attend(self, mode):
        f, cfg = self.fields, self.cfg
        heads, kv_heads, rows = f["HEADS"], f["KV_HEADS"], f["QUERY_ROWS"]
        keys, d, snap = f["KEYS"], f["HEAD_DIM"], mode >> 3 & 3
        select = SELECTS[mode & 1, mode >> 10 & 1]
        table, shifts = [], []
        for h in range(heads):
            raw = bytes(self.memory.dump(self._where("X8", h, 0), 16))
            assert raw[12:] == bytes(4) and (mode >> 5 & 1 or raw[6:8] == bytes(2))
            shifts.append(raw[6:8])
            table.append(head.HeadTable(
                raw[0] | raw[1] << 8, raw[2], raw[3], int.from_bytes(raw[4:6], "little",
                                                                     signed=True),
                int.from_bytes(raw[8:12], "little")))
        job = head.Job(
            d=d, bc=f["TILE_KEYS"], table=tuple(table), band=f["BAND"], select=select,
            quota=f["QUOTA"] if select == head.SORT else 1, fall=f["FALL"], snap=snap,
            window=f["WINDOW"] >> regs.WINDOW_WINDOW_LSB & 0x1FFFF,
            sinks=f["WINDOW"] >> regs.WINDOW_SINKS_LSB & 0x7F, causal=bool(mode >> 1 & 1),
            offset=f["CAUSAL_OFFSET"], interleaved=not mode >> 2 & 1, blend=bool(mode >> 11 & 1),
            share=bool(mode >> 12 & 1))
        assert not (job.blend and select)
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
        done = head.run_job(q, k, v, k8, means, job, cfg)
        self._write("O", done.out)
        if mode >> 5 & 1:
            sources = [KeySource(a, b, c) for a, b, c in zip(k, v, valid, strict=True)]
            walk = head.parts(heads, kv_heads, rows, keys, job, cfg)
            for turn in rass.issue(done.selected, walk, sources, job):
                kv = turn.part.kv
                for key in turn.made:
                    self.memory.load(self._where("K", kv, key), k[kv, key])
                    self.memory.load(self._where("V", kv, key), v[kv, key])
            for kv, bits in enumerate(valid):
                packed = np.packbits(bits, bitorder="little")
                size = -(-len(packed) // cfg.BUS_BYTES) * cfg.BUS_BYTES
                self.memory.load(self._where("VB", kv, 0), np.pad(packed, (0, size - len(packed))))

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
