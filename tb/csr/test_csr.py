# SPDX-License-Identifier: Apache-2.0
"""csr: every register, access kinds, refusals, strobes, status, interrupt, counters."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from models.config import Config
from models.spec import registers as regs
from tb.common.axil_master import AxiLiteError, AxiLiteMaster
from tb.common.scoreboard import same_signals
from tb.runner import CLOCK_PERIOD_NS, parameters, run

WORD = 0xFFFFFFFF
COUNTERS = len(regs.COUNTERS)
JOB_PORTS = {"MODE": "mode", "HEAD_DIM": "d", "QUERY_ROWS": "rows", "KEYS": "keys",
             "HEADS": "heads", "KV_HEADS": "kv_heads", "CAUSAL_OFFSET": "offset",
             "TILE_KEYS": "bc", "QUOTA": "quota", "BAND": "band", "FALL": "fall",
             "WINDOW": "window", "MODEL_DIM": "model_dim"}
START, CHAIN, SOFT_RESET = (1 << lsb for lsb in (
    regs.lsb("CTRL", "START"), regs.lsb("CTRL", "START_CHAIN"), regs.lsb("CTRL", "SOFT_RESET")))


def kept(name):
    """Bits that register ``name`` stores."""
    return 0xFFFF if name.endswith("_BASE_HI") or name == "NEXT_HI" else WORD


class TB:
    """Register accesses by name with a count of the checks, and a stand-in for the sequencer."""

    def __init__(self, dut, gap=0):
        self.dut, self.checked = dut, 0
        self.master = AxiLiteMaster(dut, "s_axil", dut.clk, dut.rst, gap=gap,
                                    seed=random.getrandbits(30))
        self.starts = self.chains = self.soft_resets = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def reset(self):
        dut = self.dut
        dut.rst.value = 1
        for name in ("busy", "done", "job_done", "err_valid", "err_code", "err_info", "err_lost",
                     "ev_inc",
                     "d_wr_valid", "d_wr_word", "d_wr_data"):
            getattr(dut, name).value = 0
        for _ in range(3):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        await RisingEdge(dut.clk)
        cocotb.start_soon(self._count_pulses())

    async def _count_pulses(self):
        while True:
            await RisingEdge(self.dut.clk)
            self.starts += int(self.dut.start.value)
            self.chains += int(self.dut.start_chain.value)
            self.soft_resets += int(self.dut.soft_reset.value)

    async def read(self, name):
        return await self.master.read(regs.OFFSETS[name])

    async def write(self, name, value, strb=0xF):
        await self.master.write(regs.OFFSETS[name], value, strb)

    async def expect(self, name, value):
        got = await self.read(name)
        assert got == value, f"{name}: {got:#x}, expected {value:#x}"
        self.checked += 1

    async def refused(self, action, what):
        """The awaitable must be answered with SLVERR."""
        try:
            await action
        except AxiLiteError as error:
            assert error.response == "SLVERR", what
            self.checked += 1
            return
        raise AssertionError(f"{what} was accepted")

    async def pulse(self, **signals):
        """Drive ``signals`` for one cycle."""
        for name, value in signals.items():
            getattr(self.dut, name).value = value
        await RisingEdge(self.dut.clk)
        for name in signals:
            getattr(self.dut, name).value = 0
        await RisingEdge(self.dut.clk)

    async def start(self, bit=START):
        before = self.starts, self.chains
        await self.write("CTRL", bit)
        # As the sequencer does: busy follows the pulse.
        self.dut.busy.value = 1
        await RisingEdge(self.dut.clk)
        await RisingEdge(self.dut.clk)
        assert (self.starts, self.chains) == (before[0] + (bit == START),
                                              before[1] + (bit == CHAIN))

    async def finish(self, **signals):
        self.dut.busy.value = 0
        await self.pulse(**(signals or {"done": 1}))

    async def status(self, busy, done, error):
        await self.expect("STATUS", regs.word("STATUS", BUSY=busy, DONE=done, ERROR=error))

    async def check_ports(self, values):
        """Compare the job ports with ``values`` (register name -> value)."""
        await ReadOnly()
        dut = self.dut
        for name, port in JOB_PORTS.items():
            assert int(getattr(dut, f"job_{port}").value) == values[name], name
            self.checked += 1
        base, stride, hstride = (int(getattr(dut, f"job_{p}").value)
                                 for p in ("base", "stride", "hstride"))
        want = values["NEXT_HI"] << 32 | values["NEXT_LO"]
        assert int(dut.job_next.value) == want, "NEXT"
        self.checked += 1
        for i, b in enumerate(regs.BUFFERS):
            want = values[f"{b}_BASE_HI"] << 32 | values[f"{b}_BASE_LO"]
            assert base >> 48 * i & (1 << 48) - 1 == want, b
            assert stride >> 32 * i & WORD == values[f"{b}_ROW_STRIDE"], b
            assert hstride >> 32 * i & WORD == values[f"{b}_HEAD_STRIDE"], b
            self.checked += 3
        await RisingEdge(dut.clk)


async def prepare(dut, gap=0):
    tb = TB(dut, gap)
    await tb.reset()
    return tb


@cocotb.test()
async def values_after_reset(dut):
    tb = await prepare(dut)
    p = parameters()
    for name in regs.OFFSETS:
        want = p[name[4:]] if name.startswith("CAP_") else regs.BY_NAME[name].reset
        await tb.expect(name, want)
    await tb.check_ports(dict.fromkeys(regs.JOB, 0))
    same_signals("csr", dut, irq=0)
    assert tb.checked == len(regs.OFFSETS) + len(JOB_PORTS) + 1 + 3 * len(regs.BUFFERS)


@cocotb.test()
@cocotb.parametrize(gap=[0, 5])
async def job_registers(dut, gap):
    """Written words and bytes come back and stand on the ports; no other register changes."""
    tb = await prepare(dut, gap)
    shadow = dict.fromkeys(regs.JOB, 0)
    for name in random.sample(regs.JOB, len(regs.JOB)):
        shadow[name] = random.getrandbits(32) & kept(name)
        await tb.write(name, shadow[name] | random.getrandbits(32) & ~kept(name))
    for _ in range(200):
        name, value = random.choice(regs.JOB), random.getrandbits(32)
        strb = random.getrandbits(4)
        mask = sum(0xFF << 8 * i for i in range(4) if strb >> i & 1)
        await tb.write(name, value, strb)
        shadow[name] = (shadow[name] & ~mask | value & mask) & kept(name)
    await tb.check_ports(shadow)
    for name, value in shadow.items():
        await tb.expect(name, value)
    # Address bits 1:0 have no meaning.
    assert await tb.master.read(regs.OFFSETS["KEYS"] + 3) == shadow["KEYS"]
    assert tb.starts == tb.soft_resets == 0 and tb.checked > 50


@cocotb.test()
@cocotb.parametrize(gap=[0, 4])
async def refused_accesses(dut, gap):
    """SLVERR and no effect: read-only registers, unmapped addresses, everything while busy."""
    tb = await prepare(dut, gap)
    await tb.write("QUOTA", 7)
    for name, access in ((r.name, r.access) for r in regs.REGISTERS):
        if access == "RO":
            before = await tb.read(name)
            await tb.refused(tb.write(name, WORD), f"write to {name}")
            await tb.expect(name, before)
    mapped = {o // 4 for o in regs.OFFSETS.values()}
    for word in range(1024):
        if word in mapped or (gap and word % 7):
            continue
        await tb.refused(tb.master.read(4 * word), f"read of {4 * word:#x}")
        await tb.refused(tb.master.write(4 * word, WORD), f"write to {4 * word:#x}")
    all_bits = START | CHAIN | SOFT_RESET
    several = (START | SOFT_RESET, CHAIN | SOFT_RESET, START | CHAIN, all_bits)
    for bits in several:
        await tb.refused(tb.write("CTRL", bits), f"control bits {bits:#x}")
        await tb.write("CTRL", bits, 0xE)
    await tb.write("CTRL", WORD & ~all_bits)
    assert tb.starts == tb.chains == tb.soft_resets == 0
    await tb.status(0, 0, 0)

    await tb.start(random.choice((START, CHAIN)))
    values = {name: await tb.read(name) for name in regs.JOB}
    for name in regs.JOB:
        await tb.refused(tb.write(name, ~values[name] & WORD), f"write to {name} while busy")
        await tb.refused(tb.write(name, WORD, 0), f"write without bytes to {name} while busy")
    for bits in (START, CHAIN, *several):
        await tb.refused(tb.write("CTRL", bits), f"control bits {bits:#x} while busy")
    await tb.check_ports(values)
    await tb.write("IRQ_ENABLE", 3)
    await tb.write("CTRL", SOFT_RESET)
    await RisingEdge(dut.clk)
    assert (tb.starts + tb.chains, tb.soft_resets) == (1, 1)
    await tb.status(1, 0, 0)
    await tb.finish(err_valid=1, err_code=regs.Err.ABORTED)
    await tb.write("QUOTA", 9)
    await tb.expect("QUOTA", 9)
    assert tb.checked > 100


@cocotb.test()
@cocotb.parametrize(bit=[START, CHAIN])
async def no_gap_between_start_and_lock(dut, bit):
    """A job register written right behind the start is refused, before busy has come."""
    tb = await prepare(dut)
    await tb.write("KEYS", 5)
    await tb.write("CTRL", bit)
    await tb.refused(tb.write("KEYS", 6), "write behind start")
    await tb.refused(tb.write("CTRL", START), "start behind start")
    await tb.refused(tb.write("CTRL", CHAIN), "start of a chain behind start")
    await tb.expect("KEYS", 5)
    await tb.status(1, 0, 0)
    assert tb.starts + tb.chains == 1 and tb.checked == 5


@cocotb.test()
async def descriptors_of_a_chain(dut):
    """The loader's port writes single words, whole, while the host is kept out."""
    tb = await prepare(dut)
    shadow = {}
    for name in regs.JOB:
        shadow[name] = random.getrandbits(32) & kept(name)
        await tb.write(name, shadow[name])
    await tb.start(CHAIN)
    order = [*range(len(regs.JOB)), *random.choices(range(len(regs.JOB)), k=60)]
    for word in order:
        name, value = regs.JOB[word], random.getrandbits(32)
        dut.d_wr_word.value, dut.d_wr_data.value = word, value
        # Some words stay as they are, behind each other or not.
        dut.d_wr_valid.value = write = int(random.random() < 0.7)
        if write:
            shadow[name] = value & kept(name)
        await RisingEdge(dut.clk)
    dut.d_wr_valid.value = 0
    await tb.check_ports(shadow)
    await tb.refused(tb.write("KEYS", WORD), "write while busy")
    for name, value in shadow.items():
        await tb.expect(name, value)
    await tb.finish()
    await tb.write("KEYS", 3)
    await tb.expect("KEYS", 3)
    assert tb.checked > 110


@cocotb.test()
async def jobs_of_a_chain(dut):
    """JOBS counts from every start, is held after the end, and counts no start or error."""
    tb = await prepare(dut)
    for bit, count, error in ((START, 1, 0), (CHAIN, 0, 1), (CHAIN, 9, 0), (START, 3, 1)):
        await tb.start(bit)
        await tb.expect("JOBS", 0)
        for done in range(1, count + 1):
            if done == count and not error:
                # The last job ends with its chain.
                dut.done.value = 1
            await tb.pulse(job_done=1)
            dut.done.value = 0
            await tb.expect("JOBS", done)
        if error:
            await tb.finish(err_valid=1, err_code=regs.Err.NEXT)
        dut.busy.value = 0
        await tb.refused(tb.write("JOBS", 0), "write to JOBS")
        for _ in range(2):
            await tb.expect("JOBS", count)
    assert tb.checked > 20


@cocotb.test()
async def status_error_and_interrupt(dut):
    """Done and error jobs; held values; enables; clearing; an event beats its clearing."""
    tb = await prepare(dut)
    enable, event = regs.word("IRQ_ENABLE", DONE=1), {"done": 1, "error": 2}
    assert enable == 1
    for kind in ("done", "error", "done", "error", "error"):
        code, info = random.choice(sorted(regs.ERRORS)[1:]), random.randint(1, 255)
        lost = random.randrange(4)
        enables = random.choice([1, 2, 3])
        await tb.write("IRQ_ENABLE", enables)
        await tb.expect("IRQ_ENABLE", enables)
        await tb.start()
        await tb.status(1, 0, 0)
        await tb.expect("ERROR", 0)
        same_signals("csr", dut, irq=0)
        if kind == "done":
            await tb.finish()
        else:
            await tb.finish(err_valid=1, err_code=code, err_info=info, err_lost=lost)
        for _ in range(2):
            await tb.status(0, kind == "done", kind == "error")
            await tb.expect("ERROR", 0 if kind == "done" else lost << 16 | info << 8 | code)
            await tb.expect("IRQ_STATUS", event[kind])
            assert int(dut.irq.value) == (enables & event[kind] != 0), (kind, enables)
        # Zeros, the other bit and a missing strobe clear nothing.
        await tb.write("IRQ_STATUS", WORD & ~event[kind])
        await tb.write("IRQ_STATUS", WORD, 0xE)
        await tb.expect("IRQ_STATUS", event[kind])
        await tb.write("IRQ_ENABLE", 3)
        await RisingEdge(dut.clk)
        same_signals("csr", dut, irq=1)
        await tb.write("IRQ_ENABLE", 0)
        await RisingEdge(dut.clk)
        same_signals("csr", dut, irq=0)
        await tb.write("IRQ_STATUS", event[kind])
        await tb.expect("IRQ_STATUS", 0)
        await tb.status(0, kind == "done", kind == "error")
    assert tb.checked > 50


@cocotb.test()
async def timeout(dut):
    """TIMEOUT stands on its port, is written by bytes, also while a job runs, and is kept."""
    tb = await prepare(dut)
    value = regs.TIMEOUT_RESET
    assert value > 0, "TIMEOUT is off after reset"
    same_signals("csr", dut, timeout=value)
    for busy in (0, 1):
        for _ in range(10):
            word, strb = random.getrandbits(32), random.getrandbits(4)
            mask = sum(0xFF << 8 * i for i in range(4) if strb >> i & 1)
            await tb.write("TIMEOUT", word, strb)
            value = value & ~mask | word & mask
            await tb.expect("TIMEOUT", value)
            same_signals("csr", dut, timeout=value)
        if not busy:
            await tb.start()
    await tb.finish()
    await tb.expect("TIMEOUT", value)
    assert tb.checked == 21


@cocotb.test()
async def event_against_clearing(dut):
    """An event before the cycle of the clearing is cleared, one in it or behind it stays."""
    tb = await prepare(dut)
    seen = set()
    for delay in range(8):
        await tb.write("IRQ_STATUS", 3)
        task = cocotb.start_soon(tb.write("IRQ_STATUS", 3))
        answer = None
        for edge in range(12):
            await RisingEdge(dut.clk)
            dut.done.value = edge == delay
            if answer is None and int(dut.s_axil_bvalid.value):
                answer = edge
        await task
        # What is seen at an edge was registered at the edge before; done was driven after the
        # edge before that one.
        stays = delay >= answer - 2
        await tb.expect("IRQ_STATUS", int(stays))
        seen.add(stays)
    assert seen == {False, True} and tb.checked == 8


@cocotb.test()
async def counters(dut):
    """Each counter sums its own increments, only while busy, from 0 at each start."""
    tb = await prepare(dut)

    async def feed(cycles):
        totals = [0] * COUNTERS
        for _ in range(cycles):
            amounts = [random.choice([0, 1, random.getrandbits(regs.INC_W)])
                       for _ in range(COUNTERS)]
            dut.ev_inc.value = sum(a << regs.INC_W * i for i, a in enumerate(amounts))
            totals = [t + a for t, a in zip(totals, amounts, strict=True)]
            await RisingEdge(dut.clk)
        dut.ev_inc.value = 0
        return totals

    async def compare(totals, cycles):
        for name, total in zip(regs.COUNTERS, totals, strict=True):
            await tb.expect(f"CNT_{name}", cycles if name == "CYCLES" else total)

    for cycles, bit in ((40, START), (1, CHAIN), (7, START)):
        await tb.write("CTRL", bit)
        await feed(10)
        dut.busy.value = 1
        totals = await feed(cycles)
        dut.busy.value = 0
        await feed(10)
        await tb.finish()
        await compare(totals, cycles)
        await compare(totals, cycles)

    # Saturation: 2^16 increments of 2^16 - 1 end just below 2^32, three more pass it.
    await tb.write("CTRL", START)
    await ClockCycles(dut.clk, 2)
    limit = 1 << 16
    for cycles, totals in ((limit, limit * (limit - 1)), (3, WORD)):
        dut.busy.value = 1
        dut.ev_inc.value = (1 << regs.INC_W * COUNTERS) - 1
        await ClockCycles(dut.clk, cycles)
        dut.ev_inc.value = 0
        dut.busy.value = 0
        await ClockCycles(dut.clk, 3)
        await compare([totals] * COUNTERS, cycles if cycles == limit else limit + 3)
    assert tb.checked == 8 * COUNTERS


@cocotb.test()
async def reads_and_writes_together(dut):
    """Both directions at once, with random gaps in every channel."""
    tb = await prepare(dut, gap=3)
    values = {}

    async def writer():
        for _ in range(120):
            name, value = random.choice(regs.JOB[:19]), random.getrandbits(32)
            # Unknown to the reader while it is being written.
            values.pop(name, None)
            await tb.write(name, value)
            values[name] = value

    task = cocotb.start_soon(writer())
    while not task.done():
        name = random.choice(regs.JOB[:19])
        before = values.get(name)
        got = await tb.read(name)
        if before is not None and values.get(name) == before:
            assert got == before, name
            tb.checked += 1
    assert tb.checked > 20


@cocotb.test()
@cocotb.parametrize(halves=[("ar",), ("aw",), ("w",), ("ar", "aw", "w")])
async def reset_forgets_what_is_under_way(dut, halves):
    """A reset of one cycle, so many cycles after halves of accesses came: no answer follows, no
    pulse, and nothing of them meets the next access."""
    tb = await prepare(dut)
    outputs = [getattr(dut, name) for name in (
        "s_axil_rvalid", "s_axil_bvalid", "start", "start_chain", "soft_reset", "irq")]
    for cycles in range(1, 8):
        dut.s_axil_araddr.value = dut.s_axil_awaddr.value = regs.OFFSETS["CTRL"]
        dut.s_axil_wdata.value, dut.s_axil_wstrb.value = START, 0xF
        dut.s_axil_rready.value = dut.s_axil_bready.value = 0
        for half in halves:
            getattr(dut, f"s_axil_{half}valid").value = 1
        await ClockCycles(dut.clk, cycles)
        dut.rst.value = 1
        for half in halves:
            getattr(dut, f"s_axil_{half}valid").value = 0
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        for _ in range(6):
            await RisingEdge(dut.clk)
            assert [int(o.value) for o in outputs] == [0] * len(outputs), f"after {cycles}"
            tb.checked += 1
        await tb.write("KEYS", cycles)
        await tb.expect("KEYS", cycles)
        await tb.status(0, 0, 0)
    assert tb.checked == 7 * 8


def build_parameters(config):
    """Verilog parameters of csr for a named configuration."""
    cfg = Config.from_name(config.name)
    names = ("ROWS", "COLS", "D_MAX", "BC_MAX", "BUS_BYTES", "KEYS_MAX", "ADDR_W", "SC_FRAC",
             "TWO_TERM", "SC_W", "PLACES", "H_MAX", "KG_TOK", "WGT_WORDS", "ROPE_PAIRS",
             "STORE_BEATS", "LOG_FRAC", "F_FRAC", "VM_W")
    return {**config.pick("SORT", "LAND"), **{n: getattr(cfg, n) for n in names}}


@pytest.mark.slow_on("icarus", "small", "lean", "paper")
def test_csr(sim, seed, config):
    run("sofa_csr", __name__, build_parameters(config), sim, seed=seed)
