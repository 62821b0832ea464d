# SPDX-License-Identifier: Apache-2.0
"""Answers to the points of tb/common/coverage.py, from what models and host driver know of a job.

Each function takes what was compared already and counts bins, with numpy over all rows, so that a
job costs microseconds a row. Outside a simulation nothing is counted.
"""

from __future__ import annotations

import cocotb
import numpy as np

from models import dlzs, sads
from models.config import Config
from models.head import DENSE, SORT, SUM, HeadTable, Job, Selected, Stats, order, parts
from models.spec import registers as regs
from models.spec.configs import CONFIGS
from models.sufa import Trace, weight
from models.tiling import Block, allowed, exact_rows
from tb.common.coverage import BUFFERS, MODES, OFTEN, READS, WRITES, hit, hits


def _mode(fields: dict[str, int], name: str) -> int:
    return regs.part(fields["MODE"], "MODE", name)


def _ends(point: str, values, least: int, most: int) -> None:
    """Count the ends of a range, and what lies between, in an array."""
    values = np.asarray(values)
    low, high = int((values == least).sum()), int((values == most).sum())
    hits(point, {"smallest": low, "largest": high, "between": values.size - low - high})


def _often(point: str, times) -> None:
    """Count rows by how often something happened to them."""
    times = np.asarray(times)
    hits(point, {"never": int((times == 0).sum()), "once": int((times == 1).sum()),
                 "often": int((times >= OFTEN).sum())})


# ---- The machine --------------------------------------------------------------------------------


def machine(parameters: dict[str, int], simulator: str) -> None:
    """A machine that was built with these parameters of ``sofa``, and what simulates it."""
    names = [name for name, config in CONFIGS.items()
             if all(parameters.get(k) == v for k, v in config.items())]
    hit("machine.config", names[0] if names else "other")
    hit("machine.simulator", "icarus" if "icarus" in simulator.lower() else "verilator")


def chain(jobs: list[dict[str, int]], cfg: Config) -> None:
    """Jobs that ran one after the other without an error, as their registers."""
    for i, fields in enumerate(jobs):
        last = i + 1 == len(jobs)
        hit("job.chain", "alone" if last and not i else "last" if last else "first" if not i
            else "middle")
        _job(fields, cfg)


def _job(fields: dict[str, int], cfg: Config) -> None:
    predict, made = _mode(fields, "PREDICT"), _mode(fields, "GENERATE")
    mode = MODES[_mode(fields, "ROPE")]
    hit("job.kind", "predict" if predict else "made" if made else "attention")
    if predict or made:
        hit("job.rope", f"{'predict' if predict else 'made'} {mode}")
    if predict:
        return
    d, bc, band = fields["HEAD_DIM"], fields["TILE_KEYS"], fields["BAND"]
    rows, keys = fields["QUERY_ROWS"], fields["KEYS"]
    window = fields.get("WINDOW", 0)
    size, sinks = (regs.part(window, "WINDOW", name) for name in ("WINDOW", "SINKS"))
    way = ("dense" if _mode(fields, "DENSE") else "sort" if _mode(fields, "SORT")
           else "sum+mean" if _mode(fields, "BLEND") else "sum")
    mask = ("all" if not _mode(fields, "CAUSAL") else "causal" if not size
            else "window+sinks" if sinks else "window")
    shared = _mode(fields, "SHARE")
    heads = ("shared" if shared else "one" if fields["HEADS"] == fields["KV_HEADS"] else "group")
    source = "made" if made else "memory"
    for point, bin_ in (("way", way), ("mask", mask), ("heads", heads), ("source", source),
                        ("cross", f"{way} x {mask} x {heads} x {source}")):
        hit(f"job.{point}", bin_)
    hit("job.tiles", "contiguous" if _mode(fields, "CONTIGUOUS") else "interleaved")
    if way != "dense":
        hit("job.codes", ("floor", "nearest", "two-term")[_mode(fields, "SNAP")])
    hit("job.d", "8" if d == 8 else "largest" if d == cfg.D_MAX else "between")
    hit("job.tile", "smallest" if bc == max(cfg.COLS, 4) else "largest" if bc == cfg.BC_MAX
        else "between")
    hit("job.band", "one block" if band == 1 else "all places" if band == cfg.places(d)
        else "between")
    if made:
        hit("job.loads", ("no", "yes")[_mode(fields, "VB_LOAD")])
    for point, n, unit in (("rows", rows, cfg.ROWS), ("keys", keys, bc)):
        what = "block" if point == "rows" else "tile"
        hit(f"job.{point}", "one" if n == 1 else f"less than a {what}" if n < unit
            else f"part of the last {what}" if n % unit else f"whole {what}s")


def error(code: int, info: int, lost: int) -> None:
    """A job that ended with an error: fields of register ERROR."""
    hit("error.lost", ("nothing", "reads", "writes", "both")[lost])
    reason(code, info)


def reason(code: int, info: int) -> None:
    """Code and INFO with which a job ended."""
    name = regs.ERRORS[code].name
    hit("error.code", name)
    kind, _, rest = name.partition("_")
    if rest in ("SLVERR", "DECERR", "PROTOCOL"):
        of = READS if kind == "READ" else WRITES
        # A BID that no client has comes as it is.
        if info < len(of):
            hit("error.stream", f"{name} {of[info]}")
    elif "buffer" in regs.ERRORS[code].info:
        hit("error.buffer", f"{name} {BUFFERS[info]}")


def counters(values: dict[str, int]) -> None:
    """Counters at the end of a job or chain."""
    hits("counter.moved", {name: n > 0 for name, n in values.items()})


# ---- Selection ----------------------------------------------------------------------------------


def selection(scores, seen, chosen: Selected, block: Block, entry: HeadTable, job: Job,
              cfg: Config) -> None:
    """What a block takes of the tiles of its band; scores int and seen bool [n, slots] of each
    tile, in the tiles' order."""
    if not cocotb.is_simulation:
        return
    for visible, taken in zip(seen, chosen.masks, strict=True):
        for point, some, all_ in (("tile.seen", visible.any(), visible.all()),
                                  ("tile.taken", taken.any(), (taken == visible).all())):
            hit(point, "all" if some and all_ else "some" if some else "nothing")
    if job.dense:
        return
    # Tiles are scored in their order, the first one perhaps again at the end. A row sees some key.
    best = np.stack([np.where(visible, score, sads.NO_MAX).max(axis=1)
                     for score, visible in zip(scores, seen, strict=True)], axis=1)
    every, mask = np.concatenate(scores, axis=1), np.concatenate(seen, axis=1)
    top = best.max(axis=1)
    at_top = ((every == top[:, None]) & mask).sum(axis=1)
    count = mask.sum(axis=1)
    hits("score.ties", {"none": int((at_top == 1).sum()), "two largest": int((at_top > 1).sum()),
                        "all": int(((at_top == count) & (count > 1)).sum())})
    running = np.maximum.accumulate(best, axis=1)
    rises = (running[:, 1:] > running[:, :-1]) & (running[:, :-1] > sads.NO_MAX)
    _often("maximum.raised", rises.sum(axis=1))
    if len(seen) > 1:
        where = np.argmax(best == top[:, None], axis=1)
        hits("maximum.tile", {"first": int((where == 0).sum()),
                              "last": int((where == len(seen) - 1).sum()),
                              "between": int(((where > 0) & (where < len(seen) - 1)).sum())})
    if job.select == SORT:
        _sorted(scores, seen, chosen, entry, job, cfg)
    elif job.select == SUM:
        _summed(scores, seen, chosen, block, entry, job, cfg)


def _sorted(scores, seen, chosen: Selected, entry: HeadTable, job: Job, cfg: Config) -> None:
    radius = sads.reach(entry.radius, cfg)
    clips = radius != cfg.RADIUS_INF
    hit("sort.radius", "never clips", not clips)
    run_max = np.full(len(scores[0]), sads.NO_MAX)
    for score, visible, taken in zip(scores, seen, chosen.masks, strict=True):
        run_max = np.maximum(run_max, np.where(visible, score, sads.NO_MAX).max(axis=1))
        full = taken.sum(axis=1) == job.quota
        least = np.where(taken, score, 1 << 62).min(axis=1)
        left = ((score == least[:, None]) & visible & ~taken).any(axis=1) & full
        hits("sort.ties", {"at the quota": int(left.sum()), "none": int((~left).sum())})
        if clips:
            low = (run_max - radius)[:, None]
            hits("sort.radius", {"met": int((taken & (score == low)).sum()),
                                 "missed by one": int((visible & ~taken & (score == low - 1))
                                                      .sum())})


def _summed(scores, seen, chosen: Selected, block: Block, entry: HeadTable, job: Job,
            cfg: Config) -> None:
    level = [sads.levels(score, entry.octave, cfg.LEVEL_W) for score in scores]
    top = 1 << (cfg.LEVEL_W - 1)
    for value, visible in zip(level, seen, strict=True):
        _ends("sum.level", value[visible], -top, top - 1)
    tau = sads.block_threshold(entry.tau, job.fall, block.length, cfg)
    judged = ~exact_rows(block.row, block.n, job.causal, job.offset)[:, None]
    sums = sads.start(block.n)
    none = np.zeros_like(seen[0])
    sads.count(sums, level[0], seen[0], none, none, cfg)
    for t in order(len(seen), job):
        ratio = sads.extrapolation(len(seen), t or len(seen), cfg)
        least = sads.limit(sums, ratio, tau, cfg)[:, None]
        visible, value = seen[t] & judged, level[t]
        some = visible.any(axis=1, keepdims=True)
        hits("sum.limit", {
            "met": int((visible & (value == least)).sum()),
            "missed by one": int((visible & (value == least - 1)).sum()),
            "the peak": int((some & (least == sums.peak[:, None])).sum()),
            "below every key": int((some & (least < np.where(visible, value, 1 << 40)
                                            .min(axis=1, keepdims=True))).sum())})
        if t:
            before = sums.peak
            none = np.zeros_like(seen[t])
            sads.count(sums, value, seen[t], none, none, cfg)
            rise = (sums.peak - before)[before > sads.NO_PEAK]
            hits("sum.peak", {"stays": int((rise == 0).sum()), "rises": int((rise > 0).sum()),
                              "rises beyond the fraction": int((rise > cfg.SUM_FRAC).sum())})
    if job.blend:
        shares(chosen.f, cfg)


def shares(f, cfg: Config) -> None:
    """Kept shares of rows."""
    one = 1 << cfg.F_FRAC
    hits("share.f", {"none": int((f == 0).sum()), "whole": int((f == one).sum()),
                     "part": int(((f > 0) & (f < one)).sum())})


# ---- SU-FA --------------------------------------------------------------------------------------


def attention(trace: Trace, rows: int, cfg: Config) -> None:
    """The pairs and the flush of a block of so many rows."""
    if not cocotb.is_simulation:
        return
    used = np.zeros(rows, int)
    if trace.rows:
        at, z, p, m, dm = (np.concatenate(getattr(trace, name)) for name in
                           ("rows", "z", "p", "m", "dm"))
        used = np.bincount(at, minlength=rows)
        top = 1 << (cfg.Z_W - 1)
        _ends("z.ends", z, -top, top - 1)
        weights(p, cfg)
        first = np.zeros(len(at), bool)
        first[np.unique(at, return_index=True)[1]] = True
        over = ((z >> cfg.Z_FRAC) + 1 - (m - dm))[~first]
        hits("reference.guard", {"below": int((over < 0).sum()), "at": int((over == 0).sum()),
                                 "within": int(((over > 0) & (over <= cfg.GUARD)).sum()),
                                 "exceeded": int((over > cfg.GUARD).sum())})
        _often("reference.raised", np.bincount(at[dm > 0], minlength=rows))
        hits("reference.rise", {"1 to 15": int(((dm > 0) & (dm < 16)).sum()),
                                "16 to 62": int(((dm >= 16) & (dm < 63)).sum()),
                                "63 and more": int((dm >= 63).sum())})
    hits("sufa.row", {"no key": int((used == 0).sum()), "one key": int((used == 1).sum()),
                      "several keys": int((used > 1).sum())})


def weights(p, cfg: Config) -> None:
    """Weights of pairs."""
    p, most = np.asarray(p), int(weight(np.int64((1 << cfg.Z_FRAC) - 1), np.int64(0), cfg))
    hits("weight.p", {"0": int((p == 0).sum()), "1/2": int((p == 1 << 14).sum()),
                      "largest": int((p == most).sum()),
                      "between": int(((p > 0) & (p < most)).sum())})


def block(trace: Trace, f, out, cfg: Config) -> None:
    """A block of SU-FA alone, with the shares int [rows] that it was given and its output."""
    attention(trace, len(f), cfg)
    shares(f, cfg)
    output(out)


def output(values) -> None:
    """Elements of the output, int16."""
    _ends("out.ends", values, -32768, 32767)
    hit("out.ends", "0", int((np.asarray(values) == 0).sum()))


# ---- Jobs ---------------------------------------------------------------------------------------


def job(heads, q, k, v, k8, setting: Job, stats: Stats, cfg: Config) -> None:
    """A job that was compared; heads: HeadResults with their traces; q, k, v int16, k8 int8, None
    where dense, [heads, rows or keys, d]; stats: unions of its turns."""
    if not cocotb.is_simulation:
        return
    for head, entry in zip(heads, setting.table, strict=True):
        bands = {id(b): band for band in head.bands for b in band.blocks}
        for done in head.blocks:
            band = bands[id(done.block)]
            seen = [allowed(tile, band, done.block) for tile in band.tiles]
            selection(done.scores, seen, done.chosen, done.block, entry, setting, cfg)
            attention(done.trace, done.block.n, cfg)
        sizes = [len(band.blocks) for band in head.bands]
        hits("band.blocks", {"one": sizes.count(1), "several": sum(n > 1 for n in sizes),
                             "short last one": sizes[-1] < sizes[0]})
        output(head.out)
    walk = parts(len(heads), len(k), q.shape[1], k.shape[1], setting, cfg)
    tiles = [part.band.tiles[t].n for part in walk
             for t in order(len(part.band.tiles), setting)]
    union, size = np.array(stats.union), np.array(tiles)
    hits("part.union", {"nothing": int((union == 0).sum()), "all": int((union == size).sum()),
                        "some": int(((union > 0) & (union < size)).sum())})
    hits("operand.zero", {"row of Q": int((~q.any(axis=-1)).sum()),
                          "K": int((~k.any(axis=-1)).sum()), "V": int((~v.any(axis=-1)).sum())})
    if setting.select != DENSE:
        codes = dlzs.encode(q, setting.snap)
        hits("operand.zero", {"code of Q": int((codes & 15 == 0).sum()),
                              "K8": int((k8 == 0).sum()),
                              "key of K8": int((~k8.any(axis=-1)).sum())})


def items(keys, rows: int) -> None:
    """Keys from rass to kvgen, each (kv head, key, mask, made); bit place*rows + row of the mask is
    a row of the block at a place."""
    if not cocotb.is_simulation:
        return
    block, made, seen = (1 << rows) - 1, 0, set()
    count = dict.fromkeys(("one row", "rows of a block", "rows of blocks"), 0)
    again = 0
    for kv, key, mask, is_made in keys:
        low = ((mask & -mask).bit_length() - 1) // rows * rows
        count["one row" if mask.bit_count() == 1 else "rows of a block"
              if not mask & ~(block << low) else "rows of blocks"] += 1
        made += is_made
        again += not is_made and (kv, key) in seen
        if is_made:
            seen.add((kv, key))
    hits("union.rows", count)
    hits("made.source", {"made": made, "read": sum(count.values()) - made - again,
                         "read after it was made": again})


def layer(k8, k, v, valid) -> None:
    """What a layer made: int8, int16 [kv_heads, keys, d], and bool [kv_heads, keys], which of K and
    V exist."""
    _ends("made.k8", k8, -127, 127)
    vectors(k[valid], v[valid])


def vectors(k, v) -> None:
    """Keys and values that were made, int16."""
    _ends("made.k", k, -32768, 32767)
    _ends("made.v", v, -32768, 32767)
