# SPDX-License-Identifier: Apache-2.0
"""The register map: the one table from which headers, Python constants and document are written.

    .venv/bin/python scripts/regmap.py [--check]

writes rtl/include/sofa_regs.vh, sw/sofa_regs.h, models/regs.py and docs/registers.md; with --check
it only compares them, and ends with exit code 1 where a committed file differs from the table.

Access kinds: RO read only; RW read and write; W1C write 1 to clear; W1P write 1 for a pulse,
reads as 0. Registers of the group "job" are locked while a job runs. rtl/csr/sofa_csr.v reads
the header, so an address or a bit is changed here and nowhere else.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WRITTEN_BY = "Written by scripts/regmap.py: change the table there, not this file."

ID_VALUE = 0x534F4641
"""ASCII "SOFA"."""

VERSION_VALUE = 0x00040000
"""Major version in bits 31:16, minor in 15:0."""


@dataclass(frozen=True)
class Field:
    """Bits lsb .. lsb+width-1 of a register."""

    name: str
    lsb: int
    width: int
    text: str


@dataclass(frozen=True)
class Register:
    """One 32-bit register. legal: range that the start of a job accepts ("" where none)."""

    name: str
    offset: int
    access: str
    group: str
    text: str
    legal: str = ""
    reset: int | None = 0
    fields: tuple[Field, ...] = ()
    width: int = 32
    shared: bool = False
    """Another name of the register before it at this offset."""

    @property
    def used(self) -> int:
        """Number of the lowest bits that mean something."""
        return max((f.lsb + f.width for f in self.fields), default=self.width)


@dataclass(frozen=True)
class Error:
    """A code of register ERROR. info: what the info field holds ("" where it is 0)."""

    name: str
    code: int
    text: str
    info: str = ""


CAPABILITIES = (
    ("ROWS", "query rows in parallel"),
    ("COLS", "keys predicted in parallel"),
    ("D_MAX", "largest head dimension, elements"),
    ("BC_MAX", "largest tile, keys"),
    ("BUS_BYTES", "bytes of a memory beat; bases and strides are multiples of it"),
    ("KEYS_MAX", "largest number of keys and of query rows"),
    ("ADDR_W", "bits of a memory address"),
    ("SC_FRAC", "fraction bits of a prediction term"),
    ("TWO_TERM", "1: the two-term snap rule exists"),
    ("SC_W", "bits of a predicted score and of a radius"),
    ("PLACES", "most blocks of ROWS query rows in residence"),
    ("H_MAX", "largest model dimension, elements"),
    ("KG_TOK", "tokens whose keys and values are made in parallel"),
    ("WGT_WORDS", "words (ROWS x 16 bits) of the weight memory for keys and values"),
    ("ROPE_PAIRS", "pairs that the key prediction rotates in a cycle"),
    ("STORE_BEATS", "beats of Q, and of output sums, in residence"),
    ("SORT", "1: MODE.SORT is possible"),
    ("LOG_FRAC", "fraction bits of a threshold, in octaves"),
    ("F_FRAC", "fraction bits of the share of a row's weight that is kept"),
    ("VM_W", "bits of an element of VM that count, the highest ones"),
    ("LAND", "keys that wait in the landing buffer at most"),
)

IRQ_FIELDS = (Field("DONE", 0, 1, "a chain, or a job alone, ended without error"),
              Field("ERROR", 1, 1, "a chain, or a job alone, ended with an error"))

CONTROL = (
    ("CTRL", "W1P", "job control",
     (Field("START", 0, 1, "run the job in the registers, then the chain at NEXT; refused (SLVERR) "
                           "while a job runs and together with another of these bits"),
      Field("SOFT_RESET", 1, 1, "abort the running job and its chain, which then ends with error "
                                "ABORTED once nothing is outstanding; a second one ends it at "
                                "once; without a job nothing happens"),
      Field("START_CHAIN", 2, 1, "run the chain of descriptors that begins at NEXT; refused as "
                                 "START is"))),
    ("STATUS", "RO", "state of the latest job or chain",
     (Field("BUSY", 0, 1, "a job or chain runs, from its start until DONE or ERROR is set"),
      Field("DONE", 1, 1, "all jobs ended without error; held until the next start"),
      Field("ERROR", 2, 1, "a job ended with an error, its chain with it; held until the next "
                           "start"))),
    ("ERROR", "RO", "why the latest job or chain ended; held until the next start",
     (Field("CODE", 0, 8, "error code, see below; 0: none"),
      Field("INFO", 8, 8, "buffer, stream or channel of the error, see below"),
      Field("READS_LOST", 16, 1, "1: reads were outstanding when the core gave them up, see above"),
      Field("WRITES_LOST", 17, 1, "1: writes were, likewise"))),
    ("IRQ_ENABLE", "RW", "which bits of IRQ_STATUS drive the interrupt (level)", IRQ_FIELDS),
    ("IRQ_STATUS", "W1C", "what happened since the bit was cleared", IRQ_FIELDS),
    ("JOBS", "RO", "jobs completed without error since the start", ()),
    ("TIMEOUT", "RW", "cycles that the read or the write master waits at most for the memory to do "
                      "something; 0: for ever", ()),
)

TIMEOUT_RESET = 1 << 20
"""Cycles; a millisecond at 1 GHz. Thousands of times what a memory, its refresh and an interconnect
with all other masters ahead take for an answer, and little against what a host waits for a job."""

NOT_PREDICT = "; not with PREDICT"

JOB = (
    ("MODE", "kind of the job", "SNAP 0, 1, and 2 where CAP_TWO_TERM = 1; ROPE 0..2; other bits 0",
     (Field("DENSE", 0, 1, "1: every visible key is used, nothing is predicted or sorted"),
      Field("CAUSAL", 1, 1, "1: row r sees the keys up to its position CAUSAL_OFFSET + r"),
      Field("CONTIGUOUS", 2, 1, "1: a tile holds neighbouring keys; 0: interleaved"),
      Field("SNAP", 3, 2, "power of two for a query element: 0 floor, 1 nearest, 2 two-term"),
      Field("GENERATE", 5, 1, "1: attention makes the keys and values that it selects from X and "
                              "W; 0: it reads them from K and V"),
      Field("PREDICT", 6, 1, "1: K8 is made from X8 and WC, there is no attention; excludes DENSE "
                             "and GENERATE"),
      Field("ROPE", 7, 2, "rotation of made keys: 0 none, 1 neighbouring dimensions, 2 halves"),
      Field("VB_LOAD", 9, 1, "1: VB tells which keys and values exist before the job; needs "
                             "GENERATE"),
      Field("SORT", 10, 1, "1: a row takes its QUOTA best keys of a tile, within the radius of its "
                           "head; 0, and not DENSE: those that its sum says"),
      Field("BLEND", 11, 1, "1: the mean of V stands in for what is dropped; only where the sum "
                            "selects"),
      Field("SHARE", 12, 1, "1: the query heads of a KV head share a block, row after row; their "
                            "entries of HT are the same, that of the first is read"))),
    ("HEAD_DIM", "elements of a vector", "multiple of 8, 8..D_MAX", ()),
    ("QUERY_ROWS", "query rows of a head", "1..KEYS_MAX" + NOT_PREDICT, ()),
    ("KEYS", "keys of a head", "1..KEYS_MAX", ()),
    ("HEADS", "query heads", "1..1024" + NOT_PREDICT, ()),
    ("KV_HEADS", "heads of K8, K and V", "1..HEADS, divides HEADS; with PREDICT 1..1024", ()),
    ("CAUSAL_OFFSET", "position of query row 0 among the keys", "0..KEYS_MAX-1" + NOT_PREDICT, ()),
    ("TILE_KEYS", "keys of a tile, Bc", "power of two, max(COLS, 4)..BC_MAX" + NOT_PREDICT, ()),
    ("QUOTA", "most keys a row takes from a tile", "1..BC_MAX; only with SORT", ()),
    ("BAND", "row blocks of a band, which share the keys that are read",
     "1..`min(PLACES, floor(STORE_BEATS/(ROWS*ceil(2*HEAD_DIM/BUS_BYTES))))`" + NOT_PREDICT, ()),
    ("FALL", "exponent, in 1/256, of the fall of the threshold with the number of keys that a "
             "block sees; it is TAU of the head at 1024 keys",
     "0..255" + NOT_PREDICT, ()),
    ("WINDOW", "sliding window of causal rows", "see its fields; only with CAUSAL, else 0; "
     "`CAUSAL_OFFSET + QUERY_ROWS - WINDOW < KEYS`" + NOT_PREDICT,
     (Field("WINDOW", 0, 17, "newest keys that a row sees, its own position's among them, "
                             "1..KEYS_MAX; 0: all"),
      Field("SINKS", 24, 7, "first keys of the head, which every row sees as well, 0..TILE_KEYS; "
                            "0 without a window"))),
    ("MODEL_DIM", "model dimension H, elements of a row of X8 and X",
     "multiple of 8, 8..H_MAX; with GENERATE `ceil(2*HEAD_DIM/ROWS)*MODEL_DIM <= WGT_WORDS`; only "
     "with PREDICT or GENERATE", ()),
    *((f"RESERVED_{word}", "not used", "", ()) for word in range(13, 18)),
    ("NEXT_LO", "address bits 31:0 of the next descriptor; NEXT = 0 ends the chain",
     "multiple of 256", ()),
    ("NEXT_HI", "address bits 47:32", "NEXT below 2^ADDR_W; not 0 with START_CHAIN", ()),
)

BUFFERS = (
    ("Q", "queries, int16", True, True),
    ("K8", "keys for the prediction, int8", True, True),
    ("K", "keys, int16", True, True),
    ("V", "values, int16", True, True),
    ("O", "output, int16", True, True),
    ("X8", "inputs for the prediction, int8", True, False),
    ("WC", "4-bit codes of the key weights, a head is a chunk of ROWS dimensions", False, True),
    ("X", "inputs, int16", True, False),
    ("W", "key and value weights, int16", False, True),
    ("RT", "table of rotations, int16", True, False),
    ("VB", "which keys and values exist, bits", False, True),
)
"""Name, content, has a row stride, has a head stride."""

SHARED = (
    ("HT", "X8", "table of heads, 16 bytes for each query head", False, True),
    ("VM", "WC", "means of V, int16, a row for each row block; with GENERATE those of X, for all "
                 "heads", True, True),
)
"""Buffers of attention jobs in the registers of a buffer of predict jobs, which is named second."""

BUFFER_REGISTERS = (
    ("BASE_LO", 32, "address bits 31:0 of head 0, row 0", "multiple of BUS_BYTES"),
    ("BASE_HI", 16, "address bits 47:32", "end of the buffer within 2^ADDR_W"),
    ("ROW_STRIDE", 32, "bytes from row to row",
     "multiple of BUS_BYTES, at least one vector in whole beats"),
    ("HEAD_STRIDE", 32, "bytes from head to head",
     "multiple of BUS_BYTES; with several heads at least one vector in whole beats"),
)

COUNTERS = (
    ("CYCLES", "cycles from start to end of the job or chain"),
    ("DLZS_BUSY", "cycles in which DLZS predicts scores or keys"),
    ("DLZS_STALL", "cycles in which DLZS waits because its scores are not taken, or its predicted "
                   "keys do not leave fast enough"),
    ("SADS_BUSY", "cycles in which SADS takes scores, or sorts"),
    ("SADS_STALL", "cycles in which SADS waits for its masks to be taken"),
    ("SUFA_BUSY", "cycles in which a unit of SU-FA multiplies a row's query and a key, sum of all "
                  "units"),
    ("SUFA_FLUSH", "cycles in which a unit finishes a block: mean of V and output; likewise"),
    ("SUFA_STALL", "cycles in which a unit has a key, and its row waits for its own sums or for "
                   "another block's output; likewise"),
    ("SUFA_STARVE", "cycles in which a unit has no key; likewise"),
    ("FETCH_STALL", "cycles in which a read of Q or K8 waits for a free buffer"),
    ("STORE_STALL", "cycles in which output waits for the memory"),
    ("TILES", "tiles passed on to the prediction, for each block; the first tile of a band goes "
              "twice where sums select"),
    ("BLOCKS", "blocks of query rows started"),
    ("SELECTED", "pairs of row and key selected"),
    ("UNION", "keys passed on to SU-FA because some row of a part's blocks selected them"),
    ("MAX_UPDATES", "times a row's reference exponent had to move up"),
    ("BEATS_Q", "beats of Q read"),
    ("BEATS_K8", "beats of K8 read, in predict jobs of X8"),
    ("BEATS_K", "beats of K read"),
    ("BEATS_V", "beats of V read, without GENERATE of VM as well"),
    ("BEATS_O", "beats of O written"),
    ("RASS_STALL", "cycles in which a key of the union, or the end of a block, waits to be taken"),
    ("KVGEN_BUSY", "cycles in which keys and values are made"),
    ("KVGEN_STALL", "cycles in which a made key or value waits to leave"),
    ("KVGEN_STARVE", "cycles in which no key is made because the inputs of the next ones have not "
                     "come; reading weights does not count"),
    ("GENERATED", "keys that were made, with their values"),
    ("REUSED", "keys that were read from memory, with their values"),
    ("BEATS_W", "beats of WC read"),
    ("BEATS_R", "beats of RT read for the prediction"),
    ("BEATS_X", "beats of X, W, RT, VB and VM read to make keys and values"),
    ("BEATS_D", "beats of descriptors and of HT read"),
    ("BEATS_WB", "single beats of K8, K, V and VB written"),
    ("PREDICT", "cycles of CYCLES in predict jobs"),
)

INC_W = 16
"""Bits of the increment that csr takes for each counter in every cycle."""

BUFFER_INFO = "buffer: " + ", ".join(
    f"{i} " + " or ".join([b[0], *(s[0] for s in SHARED if s[1] == b[0])])
    for i, b in enumerate(BUFFERS))
READ_INFO = ("read stream: 0 Q, 1 K8 or X8, 2 K, 3 V or VM, 4 WC, 5 RT for the prediction, 6 X, W, "
             "RT, VB or VM for made keys, 7 descriptor or HT")
WRITE_INFO = "write stream: 0 O, 1 K8, K, V or VB"
READ_WAIT = "bits: 0 AR was not taken, 1 data was missing"
WRITE_WAIT = "bits: 0 AW was not taken, 1 W was not taken, 2 an answer was missing"

ERRORS = (
    Error("NONE", 0, "No error."),
    Error("HEAD_DIM", 1, "HEAD_DIM must be a multiple of 8 in 8..D_MAX."),
    Error("QUERY_ROWS", 2, "QUERY_ROWS must be in 1..KEYS_MAX."),
    Error("KEYS", 3, "KEYS must be in 1..KEYS_MAX."),
    Error("HEADS", 4, "HEADS must be in 1..1024."),
    Error("KV_HEADS", 5, "KV_HEADS must be in 1..HEADS and divide HEADS, with PREDICT in 1..1024."),
    Error("CAUSAL_OFFSET", 6, "CAUSAL_OFFSET must be in 0..KEYS_MAX-1."),
    Error("TILE_KEYS", 7, "TILE_KEYS must be a power of two in max(COLS, 4)..BC_MAX."),
    Error("QUOTA", 8, "QUOTA must be in 1..BC_MAX."),
    Error("BAND", 9, "BAND must be in 1 to the blocks that the stores hold at HEAD_DIM."),
    Error("FALL", 10, "FALL must be in 0..255."),
    Error("SNAP", 11, "MODE.SNAP must be 0 or 1, or 2 where CAP_TWO_TERM = 1."),
    Error("BASE_ALIGN", 12, "A base address must be a multiple of BUS_BYTES.", BUFFER_INFO),
    Error("STRIDE_ALIGN", 13, "A row stride must be a multiple of BUS_BYTES.", BUFFER_INFO),
    Error("HEAD_STRIDE_ALIGN", 14, "A head stride must be a multiple of BUS_BYTES.",
          BUFFER_INFO),
    Error("STRIDE_SMALL", 15, "A row stride must be at least the bytes of a vector, rounded up "
                              "to BUS_BYTES.", BUFFER_INFO),
    Error("ADDR_RANGE", 16, "A buffer must end within 2^ADDR_W bytes, and the vectors of one head "
                            "must span less than 4 GiB.", BUFFER_INFO),
    Error("OVERLAP", 17, "The address range of a buffer that is written (O; with PREDICT K8; with "
                         "GENERATE also K, V and VB) must not overlap that of another one.",
          BUFFER_INFO),
    Error("SELECT", 18, "This build has no sort cores: MODE.SORT must be 0."),
    Error("MODE", 19, "Bits of MODE above SHARE must be 0."),
    Error("HEAD_STRIDE_SMALL", 20, "With more than one head, a head stride must be at least the "
                                   "bytes of a vector, rounded up to BUS_BYTES.", BUFFER_INFO),
    Error("MODEL_DIM", 21, "MODEL_DIM must be a multiple of 8 in 8..H_MAX."),
    Error("WEIGHTS", 22, "`ceil(2*HEAD_DIM/ROWS)*MODEL_DIM` must be at most WGT_WORDS: the weights "
                         "of a KV head have to fit their memory."),
    Error("ROPE", 28, "MODE.ROPE must be 0, 1 or 2."),
    Error("KIND", 29, "MODE.PREDICT excludes DENSE, GENERATE and SHARE, VB_LOAD needs GENERATE; at "
                      "most one of DENSE, SORT and BLEND may be set."),
    Error("NEXT", 30, "NEXT must be a multiple of 256 below 2^ADDR_W, and not 0 with START_CHAIN."),
    Error("HEAD_ENTRY", 31, "An entry of HT must have SCALE_SHIFT in 0..47, OCTAVE in 0..SC_W-1, "
                            "TAU in `-32*2^LOG_FRAC..0`, RADIUS in 0..2^SC_W-1, KG_SHIFT_K "
                            "and KG_SHIFT_V in 0..40, without GENERATE 0.",
          "number of the head, modulo 256"),
    Error("READ_SLVERR", 32, "The memory answered a read with SLVERR.", READ_INFO),
    Error("READ_DECERR", 33, "The memory answered a read with DECERR: no such address.",
          READ_INFO),
    Error("WRITE_SLVERR", 34, "The memory answered a write with SLVERR.", WRITE_INFO),
    Error("WRITE_DECERR", 35, "The memory answered a write with DECERR: no such address.",
          WRITE_INFO),
    Error("READ_PROTOCOL", 36, "The memory sent read data that nobody had asked for with that RID, "
                               "or RLAST at a wrong beat.", READ_INFO + " (RID)"),
    Error("WRITE_PROTOCOL", 37, "The memory answered a write that nobody had made with that BID, "
                                "or before it had taken all of it.", WRITE_INFO + "; others: BID"),
    Error("READ_TIMEOUT", 38, "The memory owed something to the read master and did nothing for "
                              "TIMEOUT cycles.", READ_WAIT),
    Error("WRITE_TIMEOUT", 39, "The memory owed something to the write master and did nothing for "
                               "TIMEOUT cycles.", WRITE_WAIT),
    Error("SHARE", 40, "With MODE.SHARE, `QUERY_ROWS*HEADS/KV_HEADS` must be at most ROWS, and "
                       "BAND 1."),
    Error("WINDOW", 41, "WINDOW must be in 0..KEYS_MAX, 0 without CAUSAL, and, where it is not 0, "
                        "above `CAUSAL_OFFSET + QUERY_ROWS - KEYS`; SINKS in 0..TILE_KEYS, 0 "
                        "without a window; other bits of the register 0."),
    Error("ABORTED", 48, "CTRL.SOFT_RESET ended the job."),
)

JOB_WORDS = 64
"""Job registers, and 32-bit words of a descriptor in memory."""

CAP_FIRST, CONTROL_FIRST, CAP_MORE, JOB_FIRST, COUNTER_FIRST = 0x010, 0x040, 0x060, 0x100, 0x200
CAP_SPLIT = 10
"""Capabilities before the control registers; the others are from CAP_MORE on."""


def make_registers() -> list[Register]:
    """All registers in order of their offsets."""
    out = [
        Register("ID", 0x000, "RO", "identity", 'ASCII "SOFA"', reset=ID_VALUE),
        Register("VERSION", 0x004, "RO", "identity", "version of the register map",
                 reset=VERSION_VALUE, fields=(Field("MINOR", 0, 16, "compatible changes"),
                                              Field("MAJOR", 16, 16, "incompatible changes"))),
    ]
    for i, (name, text) in enumerate(CAPABILITIES):
        offset = CAP_FIRST + 4 * i if i < CAP_SPLIT else CAP_MORE + 4 * (i - CAP_SPLIT)
        out.append(Register(f"CAP_{name}", offset, "RO", "identity", text, reset=None))
    for i, (name, access, text, fields) in enumerate(CONTROL):
        out.append(Register(name, CONTROL_FIRST + 4 * i, access, "control", text, fields=fields,
                            reset=TIMEOUT_RESET if name == "TIMEOUT" else 0))
    for i, (name, text, legal, fields) in enumerate(JOB):
        out.append(Register(name, JOB_FIRST + 4 * i, "RW", "job", text, legal, fields=fields,
                            width=16 if name == "NEXT_HI" else 32))
    offset = JOB_FIRST + 4 * len(JOB)
    for name, what, rows, heads in BUFFERS:
        out += buffer_registers(name, offset, what, rows, heads)
        for other, owner, what, rows, heads in SHARED:
            if owner == name:
                out += buffer_registers(other, offset, what, rows, heads, shared=True)
        offset += 4 * len(BUFFER_REGISTERS)
    for i, (name, text) in enumerate(COUNTERS):
        out.append(Register(f"CNT_{name}", COUNTER_FIRST + 4 * i, "RO", "counter", text))
    check_table(out)
    return out


def buffer_registers(buffer, offset, what, rows, heads, shared=False) -> list[Register]:
    """Registers of a buffer, with a row and a head stride or without."""
    out = []
    for i, (name, width, text, legal) in enumerate(BUFFER_REGISTERS):
        if not {"ROW_STRIDE": rows, "HEAD_STRIDE": heads}.get(name, True):
            text, legal = "not used", ""
        out.append(Register(f"{buffer}_{name}", offset + 4 * i, "RW", "job", f"{what}: {text}",
                            legal, width=width, shared=shared))
    return out


def check_table(registers: list[Register]) -> None:
    """Refuse a table that contradicts itself."""
    for what, values in (("name", [r.name for r in registers]),
                         ("offset", [r.offset for r in registers if not r.shared]),
                         ("error code", [e.code for e in ERRORS]),
                         ("error name", [e.name for e in ERRORS])):
        double = sorted(v for v in set(values) if values.count(v) > 1)
        if double:
            raise ValueError(f"{what} used twice: {double[0]}")
    for r in registers:
        bits = [b for f in r.fields for b in range(f.lsb, f.lsb + f.width)]
        if len(set(bits)) != len(bits) or any(b > 31 for b in bits):
            raise ValueError(f"fields of {r.name} overlap or leave the register")
        if r.offset % 4 or not 0 <= r.offset < 4096:
            raise ValueError(f"offset of {r.name} is not a word of 0..4095")
    if sum(r.group == "job" and not r.shared for r in registers) != JOB_WORDS:
        raise ValueError(f"a descriptor has {JOB_WORDS} words")
    if any(not 0 <= e.code <= 255 for e in ERRORS):
        raise ValueError("an error code does not fit 8 bits")


# ---------------------------------------------------------------------------------------------
# Outputs
# ---------------------------------------------------------------------------------------------
def verilog(registers: list[Register]) -> str:
    """The Verilog header."""
    lines = ["// SPDX-License-Identifier: Apache-2.0", f"// {WRITTEN_BY}",
             "// Register offsets, bits of fields, places in packed vectors, error codes.",
             "`ifndef SOFA_REGS_VH", "`define SOFA_REGS_VH"]

    def section(title):
        lines.extend(["", f"// {title}"])

    def define(name, value):
        lines.append(f"`define SOFA_{name:<28} {value}")

    section("Values of ID and VERSION, of TIMEOUT after reset")
    define("ID_VALUE", f"32'h{ID_VALUE:08x}")
    define("VERSION_VALUE", f"32'h{VERSION_VALUE:08x}")
    define("TIMEOUT_RESET", f"32'h{TIMEOUT_RESET:08x}")
    registers = [r for r in registers if not r.shared]
    section("Byte offsets")
    for r in registers:
        define(f"REG_{r.name}", f"12'h{r.offset:03x}")
    section("Fields: lowest bit, and number of bits; WIDTH: bits of a register that are defined")
    for r in registers:
        for f in r.fields:
            define(f"{r.name}_{f.name}_LSB", f.lsb)
            define(f"{r.name}_{f.name}_BITS", f.width)
        if r.fields:
            define(f"{r.name}_WIDTH", r.used)
    section("Job registers follow each other: byte offset of the first, number, place of each")
    job = [r for r in registers if r.group == "job"]
    define("JOB_FIRST", f"12'h{job[0].offset:03x}")
    define("JOB_NUM", len(job))
    for i, r in enumerate(job):
        define(f"JOB_{r.name}", i)
    define("BUFFER_NUM", len(BUFFERS))
    for i, b in enumerate(BUFFERS):
        define(f"BUF_{b[0]}", i)
    for name, owner, *_ in SHARED:
        define(f"BUF_{name}", [b[0] for b in BUFFERS].index(owner))
    section("Counters likewise; the increment of counter i is at ev_inc[i*INC_W +: INC_W]")
    counters = [r for r in registers if r.group == "counter"]
    define("CNT_FIRST", f"12'h{counters[0].offset:03x}")
    define("CNT_NUM", len(counters))
    define("CNT_INC_W", INC_W)
    for i, r in enumerate(counters):
        define(r.name, i)
    section("Error codes")
    for e in ERRORS:
        define(f"ERR_{e.name}", f"8'd{e.code}")
    lines.extend(["", "`endif", ""])
    return "\n".join(lines)


def c_header(registers: list[Register]) -> str:
    """The header for C."""
    def define(name, value):
        return f"#define SOFA_{name:<{width}} {value}"

    width = max(len(f"{r.name}_{f.name}_MASK") for r in registers for f in r.fields)
    lines = ["/* SPDX-License-Identifier: Apache-2.0 */", f"/* {WRITTEN_BY} */",
             "#ifndef SOFA_REGS_H", "#define SOFA_REGS_H", "",
             "/* Values of ID and VERSION; the job registers, a descriptor, in words */",
             define("ID_VALUE", f"0x{ID_VALUE:08x}u"),
             define("VERSION_VALUE", f"0x{VERSION_VALUE:08x}u"),
             define("JOB_FIRST", f"0x{JOB_FIRST:03x}u"), define("JOB_WORDS", f"{JOB_WORDS}u"),
             "", "/* Byte offsets */"]
    lines += [define(f"REG_{r.name}", f"0x{r.offset:03x}u") for r in registers]
    lines += ["", "/* Fields: lowest bit, and mask of the register */"]
    for r in registers:
        for f in r.fields:
            lines += [define(f"{r.name}_{f.name}_LSB", f.lsb),
                      define(f"{r.name}_{f.name}_MASK", f"0x{(1 << f.width) - 1 << f.lsb:08x}u")]
    lines += ["", "/* Error codes */"]
    lines += [define(f"ERR_{e.name}", e.code) for e in ERRORS]
    return "\n".join([*lines, "", "#endif", ""])


def wrapped(text: str, indent: int, limit: int = 100) -> list[str]:
    """Python string literals of ``text``, each in a line of at most ``limit`` columns."""
    room = limit - indent - 3
    parts = []
    while len(text) > room:
        cut = text.rfind(" ", 0, room) + 1
        parts.append(text[:cut])
        text = text[cut:]
    return [" " * indent + f'"{p}"' for p in (*parts, text)]


def python(registers: list[Register]) -> str:
    """The Python module."""
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        '"""Registers of the core: offsets, fields, counters, error codes.', "", WRITTEN_BY, "",
        "OFFSETS   register name -> byte offset", "ACCESS    register name -> RO, RW, W1C, W1P",
        "RESETS    register name -> value after reset (absent: set by parameters)",
        "WIDTHS    register name -> number of the lowest bits that are defined",
        "FIELDS    register name -> {field name: (lowest bit, bits)}",
        "JOB       names of the job registers in order; locked while a job runs; a descriptor in "
        "memory",
        "          is their image, 4 bytes each, little endian",
        "BUFFERS   names of the buffers in order of their numbers",
        "SHARED    buffer of attention jobs -> the buffer of predict jobs with the same registers",
        "COUNTERS  names of the counters in order; the register is CNT_<name>",
        "ERRORS    code -> (name, sentence, meaning of the info field)",
        '"""', "", f"ID_VALUE = 0x{ID_VALUE:08X}", f"VERSION_VALUE = 0x{VERSION_VALUE:08X}",
        f"INC_W = {INC_W}", "", "OFFSETS = {",
        *(f'    "{r.name}": 0x{r.offset:03X},' for r in registers), "}", "", "ACCESS = {",
        *(f'    "{r.name}": "{r.access}",' for r in registers), "}", "", "RESETS = {",
        *(f'    "{r.name}": 0x{r.reset:X},' for r in registers if r.reset is not None), "}", "",
        "WIDTHS = {", *(f'    "{r.name}": {r.used},' for r in registers), "}", "", "FIELDS = {",
    ]
    for r in registers:
        if r.fields:
            lines.append(f'    "{r.name}": {{')
            lines += [f'        "{f.name}": ({f.lsb}, {f.width}),' for f in r.fields]
            lines.append("    },")
    lines += ["}", ""]
    for r in registers:
        for f in r.fields:
            lines += [f"{r.name}_{f.name}_LSB = {f.lsb}", f"{r.name}_{f.name}_BITS = {f.width}"]
    lines += ["", "SHARED = {", *(f'    "{name}": "{owner}",' for name, owner, *_ in SHARED), "}"]
    for name, values in (("JOB", [r.name for r in registers
                                  if r.group == "job" and not r.shared]),
                         ("BUFFERS", [b[0] for b in BUFFERS]),
                         ("COUNTERS", [name for name, _ in COUNTERS])):
        lines += ["", f"{name} = (", *(f'    "{v}",' for v in values), ")"]
    lines += ["", *(f"ERR_{e.name} = {e.code}" for e in ERRORS), "", "ERRORS = {"]
    for e in ERRORS:
        lines += [f"    ERR_{e.name}: (", f'        "{e.name}",']
        for value in (e.text, e.info):
            text = wrapped(value, 8, 99)
            lines += [*text[:-1], text[-1] + ","]
        lines.append("    ),")
    lines += [
        "}", "", "", "def error_text(code: int) -> str:",
        '    """Name and sentence of an error code of register ERROR."""',
        "    if code not in ERRORS:", '        return f"unknown error code {code}"',
        "    name, sentence, _ = ERRORS[code]", '    return f"{name}: {sentence}"', "",
    ]
    return "\n".join(lines)


def bits(field: Field) -> str:
    """Bit range as in documents: 4:3 or 2."""
    top = field.lsb + field.width - 1
    return f"{top}:{field.lsb}" if field.width > 1 else f"{field.lsb}"


INTRODUCTION = """\
# Registers

{written}

AXI4-Lite slave with 32-bit data and 12-bit byte addresses (`s_axil_*`); address bits 1:0 are
ignored. Byte strobes are honoured: a byte that is not written keeps its value, and its bits
trigger nothing. These accesses are answered with SLVERR and change nothing: an address that is not
listed, a write to a read-only register, a write to a job register while a job runs, START or
START_CHAIN while a job runs or together with each other or with SOFT_RESET.

Access: RO read only, RW read and write, W1C write 1 to clear, W1P write 1 for a pulse (reads 0).
All registers are 0 after reset unless a value is given. Bits that are not listed read as 0, and
writing them changes nothing. The job registers MODE to MODEL_DIM keep all 32 bits, so that a value
that is too large is refused and not cut.

A job: write the job registers, write CTRL.START, wait for the interrupt (or until STATUS shows DONE
or ERROR), read STATUS and, after an error, ERROR. The values are checked when the job starts,
before any of its buffers is accessed; the first fault ends the job with its code. A value that the
kind of job does not use is not checked, except MODE and NEXT. Counters keep their values until the
next start; they are 32 bits wide, stop at 2^32 - 1 and count only while a job runs.

A chain: a descriptor is the image of the 64 job registers in memory, 256 bytes, little endian, at
a multiple of 256. When a job has ended without error and NEXT is not 0, the descriptor at NEXT is
read into the job registers and its job runs. CTRL.START begins with the job in the registers,
CTRL.START_CHAIN with the descriptor at NEXT. The interrupt comes once, at the end of the chain or
at its first error; JOBS tells how many jobs were completed before. Counters add up over a chain.
After a chain the job registers hold its last descriptor, after an error while a descriptor was read
a part of it.

An attention job works in _bands_ of BAND row blocks, ROWS query rows each, and in _parts_: as many
query heads of a KV head together as BAND times them fits the blocks in residence. A key that some
row of a part selects from a tile is read once for all of them.

A silent memory: while the memory owes something to the read or to the write master (it has to take
an address or data, to send data or an answer) and does nothing of it for TIMEOUT cycles, the job
ends with READ_TIMEOUT or WRITE_TIMEOUT. After any fault of the bus and after SOFT_RESET the core
waits until nothing is outstanding before it reports the end; the time-out ends this wait, too, and
so does a second SOFT_RESET. READS_LOST or WRITES_LOST of register ERROR then tell that transfers
were outstanding: addresses and write data that were offered and withdrawn, bursts without all their
data, data and answers that may still come. Reset the interconnect between core and memory before
the next job in that case, as with every reset of the core by its pin. TIMEOUT may be written while
a job runs and holds at once. After reset it is 2^20 cycles, a millisecond at 1 GHz.
"""


TABLE_OF_HEADS = """\
## Buffers of attention jobs in the registers of predict jobs

HT has the registers of X8, VM those of WC: both names stand for the same words of a descriptor.

HT, the table of heads, for every attention job: 16 bytes for each query head, little endian,
HT_HEAD_STRIDE bytes apart.

| bytes | field | meaning | legal |
|---|---|---|---|
| 1:0 | SCALE_MULT | multiplier from a dot product to log2 units | 0..65535 |
| 2 | SCALE_SHIFT | right shift after SCALE_MULT | 0..47 |
| 3 | OCTAVE | log2 of the units of a predicted score in an octave, a factor of 2 of the weight | \
0..SC_W-1 |
| 5:4 | TAU | threshold of the weight of a key against the sum of its row: octaves with LOG_FRAC \
fraction bits, two's complement | `-32*2^LOG_FRAC..0` |
| 6 | KG_SHIFT_K | right shift of a made key element; that of the first query head of a KV head \
counts | 0..40; without GENERATE 0 |
| 7 | KG_SHIFT_V | likewise of a made value element | 0..40; without GENERATE 0 |
| 11:8 | RADIUS | with SORT, keys with a predicted score below the row's maximum - RADIUS are \
dropped; 2^SC_W - 1 drops none | 0..2^SC_W-1 |
| 15:12 | | 0 | |

VM, only with BLEND: for each KV head and row block the mean of V over all keys, or, with CAUSAL,
over as many as the position of the block's first row, rounded down to a multiple of 32 (at least
32, at most KEYS). An element is the mean rounded to its VM_W highest bits, times 2^(16 - VM_W).
With GENERATE VM holds instead the means of as many rows of X, MODEL_DIM elements of 16 bits for
each row block, which the core projects; VM_HEAD_STRIDE is not used.
"""


def document(registers: list[Register]) -> str:
    """The document."""
    titles = {"identity": "Identity and capabilities", "control": "Control and status",
              "job": "Job", "counter": "Performance counters"}
    lines = [INTRODUCTION.format(written=WRITTEN_BY)]
    for group, title in titles.items():
        chosen = [r for r in registers if r.group == group]
        legal = any(r.legal for r in chosen)
        lines += [f"## {title}", ""]
        lines += ["| offset | name | access | meaning |" + (" legal |" if legal else ""),
                  "|---|---|---|---|" + ("---|" if legal else "")]
        for r in chosen:
            value = f"; 0x{r.reset:08X}" if r.reset else ""
            width = f" ({r.used} bits)" if not r.fields and r.width < 32 else ""
            lines.append(f"| 0x{r.offset:03X} | {r.name} | {r.access} | {r.text}{width}{value} |"
                         + (f" {r.legal} |" if legal else ""))
        lines.append("")
        if any(r.fields for r in chosen):
            lines += ["| register | bits | field | meaning |", "|---|---|---|---|"]
            lines += [f"| {r.name} | {bits(f)} | {f.name} | {f.text} |"
                      for r in chosen for f in r.fields]
            lines.append("")
        if group == "job":
            lines.append(TABLE_OF_HEADS)
    lines += ["## Error codes", "", "| code | name | meaning, legal range | info |",
              "|---|---|---|---|"]
    lines += [f"| {e.code} | {e.name} | {e.text} | {e.info or '0'} |" for e in ERRORS]
    lines.append("")
    return "\n".join(lines)


OUTPUTS = {
    "rtl/include/sofa_regs.vh": verilog,
    "sw/sofa_regs.h": c_header,
    "models/regs.py": python,
    "docs/registers.md": document,
}
"""File (below the repository) -> function that writes its text from the registers."""


def main(argv: list[str] | None = None) -> int:
    """Write or check the files; the exit code is the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    args = parser.parse_args(argv)
    registers = make_registers()
    wrong = 0
    for name, make in OUTPUTS.items():
        path, text = ROOT / name, make(registers)
        if not args.check:
            path.write_text(text)
            continue
        old = path.read_text() if path.is_file() else ""
        if old != text:
            wrong += 1
            print(f"{name} differs from the table; run: .venv/bin/python scripts/regmap.py")
            diff = difflib.unified_diff(old.splitlines(), text.splitlines(), "committed", "table",
                                        lineterm="", n=0)
            print("\n".join(list(diff)[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
