# SPDX-License-Identifier: Apache-2.0
"""Database of functional coverage: what is counted, what simulations leave, what each bin means."""

from __future__ import annotations

import json

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from models.config import Config
from models.head import SORT, SUM, HeadTable, Job, select
from models.spec import registers as regs
from models.sufa import Trace
from models.tiling import allowed, exact_rows
from tb.common import coverage, samples
from tb.common.states import state_names
from tb.runner import CLOCK_PERIOD_NS, run

CFG = Config.from_name("tiny")


@pytest.fixture
def counted(monkeypatch):
    """Bins that are hit, (point, bin) -> count, as if a simulation ran."""
    found = {}

    def hit(point, bin_, count=1):
        assert bin_ in coverage.PYTHON[point], (point, bin_)
        if count:
            found[point, bin_] = found.get((point, bin_), 0) + int(count)

    monkeypatch.setattr(cocotb, "is_simulation", True)
    monkeypatch.setattr(coverage, "hit", hit)
    monkeypatch.setattr(samples, "hit", hit)
    return found


def only(found, point):
    """Bins of a point, bin -> count."""
    return {b: n for (name, b), n in found.items() if name == point}


def test_points_and_bins_are_distinct():
    """Each bin once; each has a point of a source; the cross has every combination; excluded bins
    exist and have a sentence."""
    every = {**coverage.PYTHON, **coverage.rtl_bins()}
    assert len(every) == len(coverage.PYTHON) + len(coverage.rtl_bins()) > 100
    assert all(bins and len(set(bins)) == len(bins) for bins in every.values())
    assert len(coverage.PYTHON["job.cross"]) == 4 * 4 * 3 * 2
    assert set(coverage.PYTHON["error.code"]) == {e.name for e in regs.ERRORS.values()} - {"NONE"}
    assert all(bin_ in every[name] and len(why.split()) > 3
               for (name, bin_), why in coverage.EXCLUDED.items())


def test_every_state_machine_is_bound():
    """tb/hdl/coverage.sv looks at each state register of the design."""
    assert {f"state.{module}.{register}" for module, registers in state_names().items()
            for register in registers} == {n for n in coverage.rtl_bins() if n[:6] == "state."}


def test_lines_of_the_rtl_are_read():
    """Names of points from hierarchical names, generate blocks included."""
    assert coverage.parse("sofa.g_core.rass_inst.end_inst.coverage_fifo fifo full,empty 01") == (
        "fifo.sofa_rass.end_inst", ["full"])
    assert coverage.parse("sofa_sync_fifo.coverage_fifo fifo full,empty 11")[0] is None
    assert coverage.parse("sofa_kvgen.coverage_wait wait u,x_c,kv,wb 1001") == (
        "wait.sofa_kvgen", ["u", "wb"])
    assert coverage.parse("sofa_seq_chain.coverage_state state state_reg 0101") == (
        "state.sofa_seq_chain.state_reg", ["S_IDLE", "S_WORDS"])
    name, bins = coverage.parse(
        "sofa_sufa.g_unit[1].unit_inst.issue_inst.coverage_cause cause "
        "own sums,flush goes first,beats before flush,question waits 0010")
    assert (name, bins) == ("cause.sofa_sufa_issue", ["flush goes first"])


def test_nothing_is_counted_outside_a_simulation():
    coverage.hit("no such point", "no such bin")
    assert not coverage._open


def test_a_folder_is_read(tmp_path):
    """Hits of both files of a simulation; instances of one module add up."""
    (tmp_path / coverage.FILE).write_text(json.dumps({"job.way": {"sort": 3}}))
    (tmp_path / coverage.RTL_FILE).write_text(
        "sofa_rass.coverage_wait wait p 1\nsofa.g_core.rass_inst.coverage_wait wait p 1\n")
    assert coverage.read(tmp_path) == {"job.way": {"sort": 3}, "wait.sofa_rass": {"p": 2}}


def fields(**changes):
    return {"MODE": 0, "HEAD_DIM": 8, "TILE_KEYS": 4, "BAND": 1, "QUERY_ROWS": 1, "KEYS": 9,
            "HEADS": 2, "KV_HEADS": 1, "WINDOW": 0, **changes}


def test_jobs_from_their_registers(counted):
    """Way, mask, heads, source and place in the chain of three jobs and a prediction."""
    bit = {name: 1 << low for name, (low, _) in regs.FIELDS["MODE"].items()}
    samples.chain([
        fields(MODE=bit["BLEND"] | bit["CAUSAL"], WINDOW=3 << regs.lsb("WINDOW", "WINDOW")),
        fields(MODE=bit["PREDICT"] | 2 * bit["ROPE"]),
        fields(MODE=bit["SORT"] | bit["GENERATE"] | bit["VB_LOAD"] | bit["SHARE"], QUERY_ROWS=5,
               KEYS=8)], CFG)
    assert only(counted, "job.chain") == {"first": 1, "middle": 1, "last": 1}
    assert only(counted, "job.cross") == {"sum+mean x window x group x memory": 1,
                                          "sort x all x shared x made": 1}
    assert only(counted, "job.rope") == {"predict half-split": 1, "made off": 1}
    assert only(counted, "job.rows") == {"one": 1, "part of the last block": 1}
    assert only(counted, "job.keys") == {"part of the last tile": 1, "whole tiles": 1}
    assert only(counted, "job.loads") == {"yes": 1}


def test_errors_by_their_stream(counted):
    samples.error(regs.Err.READ_DECERR, 6, 1)
    samples.error(regs.Err.WRITE_PROTOCOL, 5, 0)
    samples.error(regs.Err.KEYS, 0, 0)
    samples.error(regs.Err.OVERLAP, 5, 0)
    assert only(counted, "error.stream") == {"READ_DECERR X": 1}
    assert only(counted, "error.code") == {"READ_DECERR": 1, "WRITE_PROTOCOL": 1, "KEYS": 1,
                                             "OVERLAP": 1}
    assert only(counted, "error.buffer") == {"OVERLAP X8 or HT": 1}
    assert only(counted, "error.lost") == {"reads": 1, "nothing": 3}


def block_of(scores, job, keys):
    """Count the selection of the first block of a job on these scores [rows, keys]."""
    band, = job.bands(len(scores), keys, CFG)
    block, = band.blocks
    seen = [allowed(tile, band, block) for tile in band.tiles]
    parts = [np.asarray(scores)[:, tile.keys] for tile in band.tiles]
    chosen = select(parts, seen, block, job.table[0], job, CFG)
    samples.selection(parts, seen, chosen, block, job.table[0], job, CFG)
    return chosen


def test_sorting_by_hand(counted):
    """Two keys tie at the quota of 2; the third tile's key is one below the radius of 3."""
    job = Job(8, 4, (HeadTable(1, 0, radius=3),), select=SORT, quota=2, interleaved=False)
    block_of([[5, 7, 5, 1, 4, 1, 2, 3, 8]], job, 9)
    assert only(counted, "sort.ties") == {"at the quota": 1, "none": 2}
    # Maxima 7, 7, 8: 4 is met in the second tile, 3 is one below it.
    assert only(counted, "sort.radius") == {"met": 1, "missed by one": 1}
    assert only(counted, "maximum.raised") == {"once": 1}
    assert only(counted, "maximum.tile") == {"last": 1}
    assert only(counted, "score.ties") == {"none": 1}
    assert only(counted, "tile.taken") == {"some": 2, "all": 1}


def test_sums_by_hand(counted):
    """Levels are scores; keys equal to each other, a threshold of one half of the row's sum."""
    job = Job(8, 4, (HeadTable(1, 0, octave=0, tau=-(1 << CFG.LOG_FRAC)),), select=SUM,
              interleaved=False)
    chosen = block_of([[3] * 8, [0, 0, 0, 0, 1, 0, 0, 600]], job, 8)
    assert not exact_rows(0, 2, False, 0).any()
    assert only(counted, "score.ties") == {"none": 1, "two largest": 1, "all": 1}
    # A limit above the peak is cut to it. The last one is an octave below 511, far above zeros.
    assert only(counted, "sum.limit") == {"the peak": 3, "met": 10}
    assert only(counted, "sum.level") == {"between": 15, "largest": 1}
    assert only(counted, "sum.peak") == {"stays": 1, "rises": 1, "rises beyond the fraction": 1}
    assert only(counted, "maximum.tile") == {"first": 1, "last": 1}
    assert chosen.f[0] == 1 << CFG.F_FRAC and only(counted, "share.f")["whole"] >= 1


def test_pairs_by_hand(counted):
    """A row whose second key is within the guard and whose third is beyond it by 40; a row without
    a key."""
    frac, top = CFG.Z_FRAC, 1 << CFG.Z_W - 1
    trace = Trace()
    for z, p, m, dm in ((0, 16384, 1, 0), (1 << frac, 32768, 1, 0), (41 << frac, 16384, 42, 41),
                        (-top, 0, 42, 0)):
        for name, value in (("rows", 0), ("z", z), ("p", p), ("m", m), ("dm", dm), ("l", 1)):
            getattr(trace, name).append(np.array([value]))
    samples.attention(trace, 2, CFG)
    assert only(counted, "reference.guard") == {"within": 1, "exceeded": 1, "below": 1}
    assert only(counted, "reference.raised") == {"once": 1, "never": 1}
    assert only(counted, "reference.rise") == {"16 to 62": 1}
    assert only(counted, "weight.p") == {"0": 1, "1/2": 2, "between": 3}
    assert only(counted, "z.ends") == {"smallest": 1, "between": 3}
    assert only(counted, "sufa.row") == {"no key": 1, "several keys": 1}


def test_keys_of_parts_by_hand(counted):
    """Blocks of four rows: one row, rows of a block, rows of two; a key made and read again."""
    samples.items([(0, 5, 0b0001_0000, True), (0, 6, 0b0011_0000, False),
                   (0, 5, 0b1001_1000, False), (1, 5, 0b1, False)], 4)
    assert only(counted, "union.rows") == {"one row": 2, "rows of a block": 1, "rows of blocks": 1}
    assert only(counted, "made.source") == {"made": 1, "read": 2, "read after it was made": 1}


@cocotb.test()
async def leaves_its_bins(dut):
    """Hits, an unknown bin, a sample at the end; one word through the FIFO."""
    coverage.hit("job.way", "sort", 2)
    coverage.hit("job.way", "dense", 0)
    with pytest.raises(KeyError):
        coverage.hit("job.way", "no such way")
    coverage.at_end(lambda: coverage.hit("job.mask", "window"))
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.rst.value, dut.clear.value, dut.s_valid.value, dut.m_ready.value = 1, 0, 0, 1
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    await FallingEdge(dut.clk)
    for valid in (1, 0, 0):
        dut.s_valid.value, dut.s_data.value = valid, 1
        await FallingEdge(dut.clk)


def test_a_simulation_leaves_its_bins(sim, seed):
    """bins.json on both simulators; on Verilator also what the design's own bins saw."""
    folder = run("sofa_sync_fifo", __name__, {"WIDTH": 1, "DEPTH": 2}, sim, seed=seed)
    assert json.loads((folder / coverage.FILE).read_text()) == {
        "job.way": {"sort": 2}, "job.mask": {"window": 1}}
    lines = (folder / coverage.RTL_FILE)
    assert lines.is_file() == (sim == "verilator")
    if sim == "verilator":
        assert lines.read_text() == "sofa_sync_fifo.coverage_fifo fifo full,empty 10\n"
