# SPDX-License-Identifier: Apache-2.0
"""K, K8 and V of a growing sequence as the host of the machine keeps them: a KV cache in integers.

    cache = KVCache(cfg, peaks, d)                   # of one layer of one sequence
    cache.append(k, v)                               # float, of the tokens that are new
    numbers, job = cache.job(q, snap=TWO_TERM)       # float q of the last tokens: one, or a chunk
    done = run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)

With fixed scales a token's integers do not hang on others: each is quantised once, when it comes,
and each row of V is added once to the running sum that the means are cut from. A step costs the
host O(d) for that, where models.plan.plan, whose integers and job these are, does O(S d).
`.venv/bin/python -m models.cache` measures both.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from . import workloads
from .balance import checked, turned_k, turned_q
from .config import Config, ConfigError, check
from .dlzs import FLOOR, TWO_TERM
from .head import Job, rounded_mean
from .plan import Numbers, job_of, octaves_of, plan
from .quantise import Peaks, quantise
from .tiling import EXACT, mean_span


class KVCache:
    """The cache of one layer and sequence; keys: tokens in it.

    cfg, d  configuration and head dimension
    peaks   values that become the largest integers, for q one of each query head, for k and v one
            of each KV head; larger ones saturate (models.lab.methods.dense.Calibration finds them)
    balance scales [kv_heads, d] with which Q and K are turned first (models.balance), peaks
            are then those of the turned ones; None: they stay

    ConfigError for what does not fit. The arrays of a job are views of the cache: they stay as they
    are until crop gives their places to other tokens.
    """

    def __init__(self, cfg: Config, peaks: Peaks, d: int, balance=None):
        cfg.check_d(d)
        heads, kv_heads = len(peaks.q), len(peaks.k)
        if not kv_heads or not heads or heads % kv_heads or len(peaks.v) != kv_heads:
            raise ConfigError(f"peaks of {heads} query heads, {kv_heads} heads of K and "
                              f"{len(peaks.v)} of V, legal: as many of K as of V, and a multiple "
                              f"of them of Q")
        self.cfg, self.peaks, self.d, self.keys = cfg, peaks, d, 0
        self.balance = None if balance is None else checked(balance, kv_heads, d)
        self._k, self._k8, self._v = (np.empty((kv_heads, 0, d), kind)
                                      for kind in (np.int16, np.int8, np.int16))
        # Entry i: sum of V over the first i * EXACT keys.
        self._sums = np.zeros((kv_heads, 1, d), np.int64)
        nothing = np.empty(0)
        self.sk, self.sk8, self.sv = (
            np.array([quantise(nothing, bits, name, peak)[1] for peak in of])
            for bits, name, of in ((16, "k", peaks.k), (8, "k", peaks.k), (16, "v", peaks.v)))

    @property
    def k(self) -> np.ndarray:
        """int16 [kv_heads, keys, d]."""
        return self._k[:, : self.keys]

    @property
    def k8(self) -> np.ndarray:
        """int8 [kv_heads, keys, d]."""
        return self._k8[:, : self.keys]

    @property
    def v(self) -> np.ndarray:
        """int16 [kv_heads, keys, d]."""
        return self._v[:, : self.keys]

    def append(self, k, v) -> None:
        """Add tokens, float [kv_heads, n, d]."""
        k, v = np.asarray(k), np.asarray(v)
        kv_heads = len(self.sk)
        for name, x in (("k", k), ("v", v)):
            if x.shape != (kv_heads, k.shape[1] if k.ndim == 3 else -1, self.d):
                raise ConfigError(f"{name} has shape {list(x.shape)}, legal: [{kv_heads}, n, "
                                  f"{self.d}], n the same for k and v")
        if self.balance is not None:
            k = turned_k(k, self.balance)
        first = self.keys
        last = check("keys", first + k.shape[1], 0, self.cfg.KEYS_MAX)
        new = [np.stack([quantise(x[h], bits, f"KV head {h}: {name}", peaks[h])[0]
                         for h in range(kv_heads)])
               for name, x, bits, peaks in (("k", k, 16, self.peaks.k), ("k", k, 8, self.peaks.k),
                                            ("v", v, 16, self.peaks.v))]
        if last > self._k.shape[1]:
            self._grow(last)
        for kept, x in zip((self._k, self._k8, self._v), new, strict=True):
            kept[:, first:last] = x
        self.keys = last
        # A row is added once, when the last one of its EXACT is there.
        done, whole = first // EXACT, last // EXACT
        groups = self._v[:, done * EXACT : whole * EXACT].reshape(kv_heads, -1, EXACT, self.d)
        self._sums[:, done + 1 : whole + 1] = self._sums[:, done : done + 1] + np.cumsum(
            groups.sum(axis=2, dtype=np.int64), axis=1)

    def _grow(self, keys: int) -> None:
        """Make room for ``keys``, at least twice the room there was, up to KEYS_MAX."""
        room = min(max(keys, 2 * self._k.shape[1]), self.cfg.KEYS_MAX)
        for name, size in (("_k", room), ("_k8", room), ("_v", room),
                           ("_sums", room // EXACT + 1)):
            old = getattr(self, name)
            new = np.zeros((len(old), size, self.d), old.dtype)
            new[:, : old.shape[1]] = old
            setattr(self, name, new)

    def crop(self, keys: int) -> None:
        """Keep the first ``keys`` tokens, for instance without a draft that was refused."""
        self.keys = check("keys", keys, 0, self.keys)

    def _total(self, keys: int) -> np.ndarray:
        """Sum of V of the first ``keys`` tokens, int64 [kv_heads, d], from the running sums."""
        whole = keys // EXACT
        rest = self._v[:, whole * EXACT : keys].sum(axis=1, dtype=np.int64)
        return self._sums[:, whole] + rest

    def means(self, rows: int, window: int = 0) -> np.ndarray:
        """Means of V for the blocks of the last ``rows`` tokens, int16 [kv_heads, blocks, d]:
        models.head.means_of."""
        check("rows", rows, 0, self.keys)
        out = np.empty((len(self.sv), -(-rows // self.cfg.ROWS), self.d), np.int16)
        for block in range(out.shape[1]):
            f, g = mean_span(block * self.cfg.ROWS, self.keys, True, self.keys - rows, window)
            out[:, block] = rounded_mean(self._total(g) - self._total(f), g - f, self.cfg.VM_W)
        return out

    def job(self, q, *, snap: int = FLOOR, **settings) -> tuple[Numbers, Job]:
        """Integers and job for float q [heads, rows, d] of the last tokens, whose keys are in the
        cache; snap, settings: those of models.plan.job_of beside causal and offset."""
        q = np.asarray(q, np.float64)
        heads = len(self.peaks.q)
        if q.ndim != 3 or q.shape[::2] != (heads, self.d) or not 0 < q.shape[1] <= self.keys:
            raise ConfigError(f"q has shape {list(q.shape)}, legal: [{heads}, 1..{self.keys}, "
                              f"{self.d}]")
        if self.balance is not None:
            q = turned_q(q, self.balance)
        octaves, peaks = octaves_of(self.peaks.q, self.sk8, self.d, snap, self.cfg)
        whole, sq = np.empty(q.shape, np.int16), np.empty(heads)
        for h, peak in enumerate(peaks):
            whole[h], sq[h] = quantise(q[h], 16, f"query head {h}: q", peak)
        job = job_of(whole, self.k, sq, self.sk, self.sk8, octaves, self.cfg, snap=snap,
                     causal=True, offset=self.keys - q.shape[1], **settings)
        means = self.means(q.shape[1], job.window)
        return Numbers(q=whole, k=self.k, v=self.v, k8=self.k8, means=means, sq=sq, sk=self.sk,
                       sv=self.sv, sk8=self.sk8), job


def main() -> int:
    """Print what a step of one token costs the host on a captured layer, alone and repeated, and
    whether integers and jobs are those of models.plan; 1 if not."""
    case = workloads.load_case("smollm2_novel_s1024_l05")
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    peaks = Peaks(*(tuple(np.abs(x).max(axis=(1, 2))) for x in (case.q, case.k, case.v)))
    steps, agree = 32, True
    for times in (1, 2, 4):
        q, k, v = (np.tile(x, (1, times, 1)) for x in (case.q, case.k, case.v))
        cache, whole, append = KVCache(cfg, peaks, case.d), 0.0, 0.0
        first = q.shape[1] - steps
        cache.append(k[:, :first], v[:, :first])
        for i in range(first, q.shape[1]):
            new = slice(i, i + 1)
            start = time.process_time()
            want, job = plan(q[:, new], k[:, : i + 1], v[:, : i + 1], cfg, peaks=peaks,
                             snap=TWO_TERM, causal=True)
            middle = time.process_time()
            cache.append(k[:, new], v[:, new])
            got, same = cache.job(q[:, new], snap=TWO_TERM)
            append += time.process_time() - middle
            whole += middle - start
            agree &= job == same and all(np.array_equal(x, getattr(got, name))
                                         for name, x in vars(want).items())
        print(f"{q.shape[1]} keys, {len(q)} query and {len(k)} KV heads, d = {case.d}, ms of a "
              f"core a step: plan {1e3 * whole / steps:.2f}, cache {1e3 * append / steps:.2f}; "
              f"{'equal' if agree else 'DIFFERENT'} integers and jobs")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
