# SPDX-License-Identifier: Apache-2.0
"""The register map: the one table of registers, descriptors, counters and error codes.

Models, driver and test benches use it as it stands here; scripts/regmap.py writes the Verilog and C
headers, the SystemRDL and the document from it. A register of the group "job" is locked while a
job runs, and a descriptor in memory is the image of all of them, 4 bytes each, little endian.

Access kinds: RO read only; RW read and write; W1C write 1 to clear; W1P write 1 for a pulse, reads
as 0.

OFFSETS   register name -> byte offset
FIELDS    register name -> {field name: (lowest bit, bits)}
JOB       names of the job registers in order
BUFFERS   names of the buffers in order of their numbers
SHARED    buffer of attention jobs -> the buffer of predict jobs with the same registers
COUNTERS  names of the counters in order; the register is CNT_<name>
Err       codes of register ERROR; ERRORS: code -> Error
lsb       lowest bit of a field; word: a value from fields; part: a field of a value
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

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

JOB_TABLE = (
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

BUFFER_TABLE = (
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

SHARED_TABLE = (
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

COUNTER_TABLE = (
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
    f"{i} " + " or ".join([b[0], *(s[0] for s in SHARED_TABLE if s[1] == b[0])])
    for i, b in enumerate(BUFFER_TABLE))
READ_INFO = ("read stream: 0 Q, 1 K8 or X8, 2 K, 3 V or VM, 4 WC, 5 RT for the prediction, 6 X, W, "
             "RT, VB or VM for made keys, 7 descriptor or HT")
WRITE_INFO = "write stream: 0 O, 1 K8, K, V or VB"
READ_WAIT = "bits: 0 AR was not taken, 1 data was missing"
WRITE_WAIT = "bits: 0 AW was not taken, 1 W was not taken, 2 an answer was missing"

ERROR_TABLE = (
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

HEAD_ENTRY = (
    ("SCALE_MULT", "<u2", "multiplier from a dot product to log2 units", "0..65535"),
    ("SCALE_SHIFT", "u1", "right shift after SCALE_MULT", "0..47"),
    ("OCTAVE", "u1", "log2 of the units of a predicted score in an octave, a factor of 2 of the "
                     "weight", "0..SC_W-1"),
    ("TAU", "<i2", "threshold of the weight of a key against the sum of its row: octaves with "
                   "LOG_FRAC fraction bits, two's complement", "`-32*2^LOG_FRAC..0`"),
    ("KG_SHIFT_K", "u1", "right shift of a made key element; that of the first query head of a KV "
                         "head counts", "0..40; without GENERATE 0"),
    ("KG_SHIFT_V", "u1", "likewise of a made value element", "0..40; without GENERATE 0"),
    ("RADIUS", "<u4", "with SORT, keys with a predicted score below the row's maximum - RADIUS are "
                      "dropped; 2^SC_W - 1 drops none", "0..2^SC_W-1"),
    ("REST", "<u4", "not used", "0"),
)
"""Fields of an entry of the table of heads in the order of their bytes: name, type as numpy writes
it, meaning, legal range."""

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
    for i, (name, text, legal, fields) in enumerate(JOB_TABLE):
        out.append(Register(name, JOB_FIRST + 4 * i, "RW", "job", text, legal, fields=fields,
                            width=16 if name == "NEXT_HI" else 32))
    offset = JOB_FIRST + 4 * len(JOB_TABLE)
    for name, what, rows, heads in BUFFER_TABLE:
        out += buffer_registers(name, offset, what, rows, heads)
        for other, owner, what, rows, heads in SHARED_TABLE:
            if owner == name:
                out += buffer_registers(other, offset, what, rows, heads, shared=True)
        offset += 4 * len(BUFFER_REGISTERS)
    for i, (name, text) in enumerate(COUNTER_TABLE):
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
                         ("error code", [e.code for e in ERROR_TABLE]),
                         ("error name", [e.name for e in ERROR_TABLE])):
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
    if any(not 0 <= e.code <= 255 for e in ERROR_TABLE):
        raise ValueError("an error code does not fit 8 bits")


REGISTERS = make_registers()

OFFSETS = {r.name: r.offset for r in REGISTERS}
FIELDS = {r.name: {f.name: (f.lsb, f.width) for f in r.fields} for r in REGISTERS if r.fields}
BY_NAME = {r.name: r for r in REGISTERS}
JOB = tuple(r.name for r in REGISTERS if r.group == "job" and not r.shared)
BUFFERS = tuple(name for name, *_ in BUFFER_TABLE)
SHARED = {name: owner for name, owner, *_ in SHARED_TABLE}
COUNTERS = tuple(name for name, _ in COUNTER_TABLE)
ERRORS = {e.code: e for e in ERROR_TABLE}
Err = IntEnum("Err", {e.name: e.code for e in ERROR_TABLE})


def lsb(register: str, field: str) -> int:
    """Lowest bit of a field."""
    return FIELDS[register][field][0]


def word(register: str, **fields: int) -> int:
    """The value of a register with these fields, the others 0; ValueError for one that does not
    fit."""
    value = 0
    for name, number in fields.items():
        low, width = FIELDS[register][name]
        if not 0 <= number < 1 << width:
            raise ValueError(f"{register}.{name} = {number}, legal: 0..{(1 << width) - 1}")
        value |= int(number) << low
    return value


def part(value: int, register: str, field: str) -> int:
    """A field of a register's value."""
    low, width = FIELDS[register][field]
    return value >> low & ((1 << width) - 1)


def error_text(code: int) -> str:
    """Name and sentence of an error code of register ERROR."""
    if code not in ERRORS:
        return f"unknown error code {code}"
    return f"{ERRORS[code].name}: {ERRORS[code].text}"
