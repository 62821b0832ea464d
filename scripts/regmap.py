# SPDX-License-Identifier: Apache-2.0
"""The register map: the one table from which header, Python constants and document are written.

Usage: regmap.py           write rtl/include/sofa_regs.vh, models/regs.py, docs/registers.md
       regmap.py --check   exit code 1 when a committed file differs from the table

Access kinds: RO read only; RW read and write; W1C write 1 to clear; W1P write 1 for a pulse,
reads as 0. Registers of the group "job" are locked while a job runs. rtl/csr/csr.v reads the
header, so an address or a bit is changed here and nowhere else.
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

VERSION_VALUE = 0x00010000
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
    ("SC_W", "bits of a predicted score and of RADIUS"),
)

IRQ_FIELDS = (Field("DONE", 0, 1, "a job ended without error"),
              Field("ERROR", 1, 1, "a job ended with an error"))

CONTROL = (
    ("CTRL", "W1P", "job control",
     (Field("START", 0, 1, "start a job; refused (SLVERR) while one runs and together with "
                           "SOFT_RESET"),
      Field("SOFT_RESET", 1, 1, "abort the running job, which then ends with error ABORTED; "
                                "without a job nothing happens"))),
    ("STATUS", "RO", "state of the latest job",
     (Field("BUSY", 0, 1, "a job runs, from its start until DONE or ERROR is set"),
      Field("DONE", 1, 1, "the job ended without error; held until the next start"),
      Field("ERROR", 2, 1, "the job ended with an error; held until the next start"))),
    ("ERROR", "RO", "why the latest job ended; held until the next start",
     (Field("CODE", 0, 8, "error code, see below; 0: none"),
      Field("INFO", 8, 8, "buffer or stream of the error: 0 Q, 1 K8, 2 K, 3 V, 4 O"))),
    ("IRQ_ENABLE", "RW", "which bits of IRQ_STATUS drive the interrupt (level)", IRQ_FIELDS),
    ("IRQ_STATUS", "W1C", "what happened since the bit was cleared", IRQ_FIELDS),
)

JOB = (
    ("MODE", "kind of the job", "SNAP 0, 1, and 2 where CAP_TWO_TERM = 1; other bits 0",
     (Field("DENSE", 0, 1, "1: every visible key is used, nothing is predicted or sorted"),
      Field("CAUSAL", 1, 1, "1: row r sees the keys up to its position CAUSAL_OFFSET + r"),
      Field("CONTIGUOUS", 2, 1, "1: a tile holds neighbouring keys; 0: interleaved"),
      Field("SNAP", 3, 2, "power of two for a query element: 0 floor, 1 nearest, 2 two-term"))),
    ("HEAD_DIM", "elements of a vector", "multiple of 8, 8..D_MAX", ()),
    ("QUERY_ROWS", "query rows of a head", "1..KEYS_MAX", ()),
    ("KEYS", "keys of a head", "1..KEYS_MAX", ()),
    ("HEADS", "query heads", "1..1024", ()),
    ("KV_HEADS", "heads of K8, K and V", "1..HEADS, divides HEADS", ()),
    ("CAUSAL_OFFSET", "position of query row 0 among the keys", "0..KEYS_MAX-1", ()),
    ("TILE_KEYS", "keys of a tile, Bc", "power of two, max(COLS, 4)..BC_MAX", ()),
    ("QUOTA", "most keys a row takes from a tile", "1..BC_MAX", ()),
    ("RADIUS", "keys with a predicted score below the row's maximum - RADIUS are dropped; "
               "2^SC_W - 1 drops none", "0..2^SC_W-1", ()),
    ("SCALE_MULT", "multiplier from a dot product to log2 units", "1..65535", ()),
    ("SCALE_SHIFT", "right shift after SCALE_MULT", "0..47", ()),
)

BUFFERS = (("Q", "queries, int16"), ("K8", "keys for the prediction, int8"), ("K", "keys, int16"),
           ("V", "values, int16"), ("O", "output, int16"))

BUFFER_REGISTERS = (
    ("BASE_LO", 32, "address bits 31:0 of head 0, row 0", "multiple of BUS_BYTES"),
    ("BASE_HI", 16, "address bits 47:32", "end of the buffer within 2^ADDR_W"),
    ("ROW_STRIDE", 32, "bytes from row to row",
     "multiple of BUS_BYTES, at least one vector in whole beats"),
    ("HEAD_STRIDE", 32, "bytes from head to head",
     "multiple of BUS_BYTES; with several heads at least one vector in whole beats"),
)

COUNTERS = (
    ("CYCLES", "cycles from start to end of the job"),
    ("DLZS_BUSY", "cycles in which DLZS predicts"),
    ("DLZS_STALL", "cycles in which DLZS has scores that SADS does not take"),
    ("SADS_BUSY", "cycles in which SADS works on a tile"),
    ("SADS_STALL", "cycles in which SADS waits for a list buffer or for its result to be taken"),
    ("SUFA_BUSY", "cycles in which SU-FA multiplies queries and keys"),
    ("SUFA_STALL", "cycles in which SU-FA waits for the store stage"),
    ("SUFA_STARVE", "cycles in which SU-FA waits for a K tile"),
    ("FETCH_STALL", "cycles in which a read waits for a free buffer"),
    ("STORE_STALL", "cycles in which output waits for the memory"),
    ("TILES", "tiles started"),
    ("BLOCKS", "blocks of query rows started"),
    ("SELECTED", "pairs of row and key selected"),
    ("UNION", "keys fetched because some row of a block selected them"),
    ("STEPS", "pair steps of SU-FA"),
    ("MAX_UPDATES", "times a row's reference exponent had to move up"),
    ("BEATS_Q", "beats of Q read"),
    ("BEATS_K8", "beats of K8 read"),
    ("BEATS_K", "beats of K read"),
    ("BEATS_V", "beats of V read"),
    ("BEATS_O", "beats of O written"),
)

INC_W = 16
"""Bits of the increment that csr takes for each counter in every cycle."""

BUFFER_INFO = "buffer: 0 Q, 1 K8, 2 K, 3 V, 4 O"
STREAM_INFO = "stream: 0 Q, 1 K8, 2 K, 3 V"

ERRORS = (
    Error("NONE", 0, "No error."),
    Error("HEAD_DIM", 1, "HEAD_DIM must be a multiple of 8 in 8..D_MAX."),
    Error("QUERY_ROWS", 2, "QUERY_ROWS must be in 1..KEYS_MAX."),
    Error("KEYS", 3, "KEYS must be in 1..KEYS_MAX."),
    Error("HEADS", 4, "HEADS must be in 1..1024."),
    Error("KV_HEADS", 5, "KV_HEADS must be in 1..HEADS and divide HEADS."),
    Error("CAUSAL_OFFSET", 6, "CAUSAL_OFFSET must be in 0..KEYS_MAX-1."),
    Error("TILE_KEYS", 7, "TILE_KEYS must be a power of two in max(COLS, 4)..BC_MAX."),
    Error("QUOTA", 8, "QUOTA must be in 1..BC_MAX."),
    Error("RADIUS", 9, "RADIUS must be in 0..2^SC_W-1."),
    Error("SCALE_SHIFT", 10, "SCALE_SHIFT must be in 0..47."),
    Error("SNAP", 11, "MODE.SNAP must be 0 or 1, or 2 where CAP_TWO_TERM = 1."),
    Error("BASE_ALIGN", 12, "A base address must be a multiple of BUS_BYTES.", BUFFER_INFO),
    Error("STRIDE_ALIGN", 13, "A row stride must be a multiple of BUS_BYTES.", BUFFER_INFO),
    Error("HEAD_STRIDE_ALIGN", 14, "A head stride must be a multiple of BUS_BYTES.",
          BUFFER_INFO),
    Error("STRIDE_SMALL", 15, "A row stride must be at least the bytes of a vector, rounded up "
                              "to BUS_BYTES.", BUFFER_INFO),
    Error("ADDR_RANGE", 16, "A buffer must end within 2^ADDR_W bytes, and the vectors of one head "
                            "must span less than 4 GiB.", BUFFER_INFO),
    Error("OVERLAP", 17, "The address ranges of O and of another buffer must not overlap.",
          BUFFER_INFO),
    Error("SCALE_MULT", 18, "SCALE_MULT must be in 1..65535."),
    Error("MODE", 19, "Bits of MODE above SNAP must be 0."),
    Error("HEAD_STRIDE_SMALL", 20, "With more than one head, a head stride must be at least the "
                                   "bytes of a vector, rounded up to BUS_BYTES.", BUFFER_INFO),
    Error("READ_SLVERR", 32, "The memory answered a read with SLVERR.", STREAM_INFO),
    Error("READ_DECERR", 33, "The memory answered a read with DECERR: no such address.",
          STREAM_INFO),
    Error("WRITE_SLVERR", 34, "The memory answered a write with SLVERR.", "4 (O)"),
    Error("WRITE_DECERR", 35, "The memory answered a write with DECERR: no such address.",
          "4 (O)"),
    Error("ABORTED", 48, "CTRL.SOFT_RESET ended the job."),
)

CAP_FIRST, CONTROL_FIRST, JOB_FIRST, COUNTER_FIRST = 0x010, 0x040, 0x100, 0x200


def make_registers() -> list[Register]:
    """All registers in order of their offsets."""
    out = [
        Register("ID", 0x000, "RO", "identity", 'ASCII "SOFA"', reset=ID_VALUE),
        Register("VERSION", 0x004, "RO", "identity", "version of the register map",
                 reset=VERSION_VALUE, fields=(Field("MINOR", 0, 16, "compatible changes"),
                                              Field("MAJOR", 16, 16, "incompatible changes"))),
    ]
    for i, (name, text) in enumerate(CAPABILITIES):
        out.append(Register(f"CAP_{name}", CAP_FIRST + 4 * i, "RO", "identity", text, reset=None))
    for i, (name, access, text, fields) in enumerate(CONTROL):
        out.append(Register(name, CONTROL_FIRST + 4 * i, access, "control", text, fields=fields))
    for i, (name, text, legal, fields) in enumerate(JOB):
        out.append(Register(name, JOB_FIRST + 4 * i, "RW", "job", text, legal, fields=fields))
    offset = JOB_FIRST + 4 * len(JOB)
    for buffer, what in BUFFERS:
        for name, width, text, legal in BUFFER_REGISTERS:
            out.append(Register(f"{buffer}_{name}", offset, "RW", "job", f"{what}: {text}", legal,
                                width=width))
            offset += 4
    for i, (name, text) in enumerate(COUNTERS):
        out.append(Register(f"CNT_{name}", COUNTER_FIRST + 4 * i, "RO", "counter", text))
    check_table(out)
    return out


def check_table(registers: list[Register]) -> None:
    """Refuse a table that contradicts itself."""
    for what, values in (("name", [r.name for r in registers]),
                         ("offset", [r.offset for r in registers]),
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

    section("Values of ID and VERSION")
    define("ID_VALUE", f"32'h{ID_VALUE:08x}")
    define("VERSION_VALUE", f"32'h{VERSION_VALUE:08x}")
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
        "JOB       names of the job registers in order; locked while a job runs",
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
    for name, values in (("JOB", [r.name for r in registers if r.group == "job"]),
                         ("COUNTERS", [name for name, _ in COUNTERS])):
        lines += ["", f"{name} = (", *(f'    "{v}",' for v in values), ")"]
    lines += ["", *(f"ERR_{e.name} = {e.code}" for e in ERRORS), "", "ERRORS = {"]
    for e in ERRORS:
        lines += [f"    ERR_{e.name}: (", f'        "{e.name}",']
        text = wrapped(e.text, 8, 99)
        lines += [*text[:-1], text[-1] + ",", f'        "{e.info}",', "    ),"]
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
listed, a write to a read-only register, a write to a job register while a job runs, START while a
job runs or together with SOFT_RESET.

Access: RO read only, RW read and write, W1C write 1 to clear, W1P write 1 for a pulse (reads 0).
All registers are 0 after reset unless a value is given. Bits that are not listed read as 0, and
writing them changes nothing. The job registers HEAD_DIM to SCALE_SHIFT and MODE keep all 32 bits,
so that a value that is too large is refused and not cut.

A job: write the job registers, write CTRL.START, wait for the interrupt (or until STATUS shows DONE
or ERROR), read STATUS and, after an error, ERROR. The values are checked when the job starts,
before any access to memory; the first fault ends the job with its code. Counters keep their values
until the next start; they are 32 bits wide, stop at 2^32 - 1 and count only while a job runs.
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
    lines += ["## Error codes", "", "| code | name | meaning, legal range | info |",
              "|---|---|---|---|"]
    lines += [f"| {e.code} | {e.name} | {e.text} | {e.info or '0'} |" for e in ERRORS]
    lines.append("")
    return "\n".join(lines)


OUTPUTS = {
    "rtl/include/sofa_regs.vh": verilog,
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
            print(f"{name} differs from the table; run: python scripts/regmap.py")
            diff = difflib.unified_diff(old.splitlines(), text.splitlines(), "committed", "table",
                                        lineterm="", n=0)
            print("\n".join(list(diff)[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
