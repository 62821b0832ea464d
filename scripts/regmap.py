# SPDX-License-Identifier: Apache-2.0
"""Files that are written from the tables of models/spec: headers, SystemRDL and document of the
register map, and the header of 2**f.

    .venv/bin/python scripts/regmap.py [--check]

writes the files of OUTPUTS; with --check it only compares them, and ends with exit code 1 where a
committed file differs from its table. The RTL reads the Verilog headers, so an address, a bit or a
slope is changed in the table and nowhere else.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import textwrap
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models.spec import exp2  # noqa: E402 (needs the repository on the search path)
from models.spec import registers as table  # noqa: E402
from models.spec.registers import Field, Register  # noqa: E402

WRITTEN_BY = "Written by scripts/regmap.py: change models/spec/registers.py, not this file."

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
    define("ID_VALUE", f"32'h{table.ID_VALUE:08x}")
    define("VERSION_VALUE", f"32'h{table.VERSION_VALUE:08x}")
    define("TIMEOUT_RESET", f"32'h{table.TIMEOUT_RESET:08x}")
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
    define("BUFFER_NUM", len(table.BUFFERS))
    for i, b in enumerate(table.BUFFERS):
        define(f"BUF_{b}", i)
    for name, owner in table.SHARED.items():
        define(f"BUF_{name}", table.BUFFERS.index(owner))
    section("Counters likewise; the increment of counter i is at ev_inc[i*INC_W +: INC_W]")
    counters = [r for r in registers if r.group == "counter"]
    define("CNT_FIRST", f"12'h{counters[0].offset:03x}")
    define("CNT_NUM", len(counters))
    define("CNT_INC_W", table.INC_W)
    for i, r in enumerate(counters):
        define(r.name, i)
    section("Error codes")
    for e in table.ERROR_TABLE:
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
             define("ID_VALUE", f"0x{table.ID_VALUE:08x}u"),
             define("VERSION_VALUE", f"0x{table.VERSION_VALUE:08x}u"),
             define("JOB_FIRST", f"0x{table.JOB_FIRST:03x}u"),
             define("JOB_WORDS", f"{table.JOB_WORDS}u"),
             "", "/* Byte offsets */"]
    lines += [define(f"REG_{r.name}", f"0x{r.offset:03x}u") for r in registers]
    lines += ["", "/* Fields: lowest bit, and mask of the register */"]
    for r in registers:
        for f in r.fields:
            lines += [define(f"{r.name}_{f.name}_LSB", f.lsb),
                      define(f"{r.name}_{f.name}_MASK", f"0x{(1 << f.width) - 1 << f.lsb:08x}u")]
    lines += ["", "/* Error codes */"]
    lines += [define(f"ERR_{e.name}", e.code) for e in table.ERROR_TABLE]
    return "\n".join([*lines, "", "#endif", ""])


def quoted(text: str) -> str:
    """A string of SystemRDL, or of C."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def c_errors() -> str:
    """The sentences of error codes in C."""
    lines = ["/* SPDX-License-Identifier: Apache-2.0 */", f"/* {WRITTEN_BY} */",
             '#include "sofa.h"', "", "const char *sofa_error_text(uint8_t code)", "{",
             "    switch (code) {"]
    for e in table.ERROR_TABLE:
        lines.append(f"    case SOFA_ERR_{e.name}:")
        pieces = textwrap.wrap(table.error_text(e.code), 80, drop_whitespace=False,
                               break_on_hyphens=False)
        lines += [f"        {'       ' if i else 'return'} {quoted(piece)}"
                  for i, piece in enumerate(pieces)]
        lines[-1] += ";"
    return "\n".join([*lines, "    default:", '        return "unknown error code";', "    }", "}",
                      ""])


SOFTWARE = {"RO": ("r", "w"), "RW": ("rw", "r"), "W1C": ("rw", "rw"), "W1P": ("w", "r")}
"""Access kind -> sw and hw of SystemRDL."""


def rdl(registers: list[Register]) -> str:
    """The map in SystemRDL 2.0. Registers that have two names have that of predict jobs."""
    lines = ["// SPDX-License-Identifier: Apache-2.0", f"// {WRITTEN_BY}", "addrmap sofa {",
             '    name = "SOFA";', '    desc = "Registers of the sparse-attention accelerator.";',
             "    default regwidth = 32;", "    default accesswidth = 32;",
             "    addressing = regalign;", "    littleendian;"]
    for r in (r for r in registers if not r.shared):
        others = [o.name for o in registers if o.shared and o.offset == r.offset]
        text = r.text + (f"; legal: {r.legal}" if r.legal else "")
        text += f"; in attention jobs {others[0]}" if others else ""
        lines += ["    reg {", f"        name = {quoted(r.name)};",
                  f"        desc = {quoted(text)};"]
        software, hardware = SOFTWARE[r.access]
        for f in r.fields or (Field("VALUE", 0, r.width, r.text),):
            lines += ["        field {", f"            desc = {quoted(f.text)};",
                      f"            sw = {software};", f"            hw = {hardware};"]
            lines += ["            woclr;"] * (r.access == "W1C")
            lines += ["            singlepulse;"] * (r.access == "W1P")
            value = "" if r.reset is None else (
                f" = 0x{r.reset >> f.lsb & ((1 << f.width) - 1):x}")
            lines.append(f"        }} {f.name}[{f.lsb + f.width - 1}:{f.lsb}]{value};")
        lines.append(f"    }} {r.name} @ 0x{r.offset:03x};")
    return "\n".join([*lines, "};", ""])


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

{entries}

VM, only with BLEND: for each KV head and row block the mean of V over all keys, or, with CAUSAL,
over as many as the position of the block's first row, rounded down to a multiple of 32 (at least
32, at most KEYS). An element is the mean rounded to its VM_W highest bits, times 2^(16 - VM_W).
With GENERATE VM holds instead the means of as many rows of X, MODEL_DIM elements of 16 bits for
each row block, which the core projects; VM_HEAD_STRIDE is not used.
"""


def head_entries() -> str:
    """The table of the fields of an entry of the table of heads."""
    lines, at = ["| bytes | field | meaning | legal |", "|---|---|---|---|"], 0
    for name, kind, text, legal in table.HEAD_ENTRY:
        last = at + int(kind[-1]) - 1
        where = f"{last}:{at}" if last > at else f"{at}"
        at = last + 1
        lines.append(f"| {where} | {name} | {text} | {legal} |")
    return "\n".join(lines)


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
            lines.append(TABLE_OF_HEADS.format(entries=head_entries()))
    lines += ["## Error codes", "", "| code | name | meaning, legal range | info |",
              "|---|---|---|---|"]
    lines += [f"| {e.code} | {e.name} | {e.text} | {e.info or '0'} |" for e in table.ERROR_TABLE]
    lines.append("")
    return "\n".join(lines)


def packed(entries: np.ndarray, width: int) -> str:
    """A Verilog constant with entry 0 in the low bits, 4 bits a digit."""
    word = sum(int(v) << (width * i) for i, v in enumerate(entries))
    bits = width * len(entries)
    return f"{bits}'h{word:0{bits // 4}x}"


def exp2_header() -> str:
    """The Verilog header of 2**f."""
    base, slope = exp2.fit()
    return "\n".join(
        [
            "// SPDX-License-Identifier: Apache-2.0",
            "// Tables of 2**f (docs/architecture.md section 5.4). Written by scripts/regmap.py:",
            "// change models/spec/exp2.py. Entry i, of 64, covers f = i/64 .. (i+1)/64:",
            f"//   base[i]  = `SOFA_EXP2_BASE[{exp2.BASE_W}*i +: {exp2.BASE_W}]    2**f in 1.15",
            f"//   slope[i] = `SOFA_EXP2_SLOPE[{exp2.SLOPE_W}*i +: {exp2.SLOPE_W}]   rise over the "
            "entry",
            "// Use them to set a localparam of the same width; a macro itself has no bit select.",
            "`ifndef SOFA_EXP2_VH",
            "`define SOFA_EXP2_VH",
            f"`define SOFA_EXP2_BASE_W {exp2.BASE_W}",
            f"`define SOFA_EXP2_SLOPE_W {exp2.SLOPE_W}",
            f"`define SOFA_EXP2_BASE {packed(base, exp2.BASE_W)}",
            f"`define SOFA_EXP2_SLOPE {packed(slope, exp2.SLOPE_W)}",
            "`endif",
            "",
        ]
    )


OUTPUTS = {
    "rtl/include/sofa_regs.vh": lambda: verilog(table.REGISTERS),
    "rtl/include/sofa_exp2.vh": exp2_header,
    "rtl/csr/sofa_csr.rdl": lambda: rdl(table.REGISTERS),
    "sw/sofa_regs.h": lambda: c_header(table.REGISTERS),
    "sw/sofa_errors.c": c_errors,
    "docs/registers.md": lambda: document(table.REGISTERS),
}
"""File (below the repository) -> function that makes its text."""


def main(argv: list[str] | None = None) -> int:
    """Write or check the files; the exit code is the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    args = parser.parse_args(argv)
    wrong = 0
    for name, make in OUTPUTS.items():
        path, text = ROOT / name, make()
        if not args.check:
            path.write_text(text)
            continue
        old = path.read_text() if path.is_file() else ""
        if old != text:
            wrong += 1
            print(f"{name} differs from its table; run: .venv/bin/python scripts/regmap.py")
            diff = difflib.unified_diff(old.splitlines(), text.splitlines(), "committed", "table",
                                        lineterm="", n=0)
            print("\n".join(list(diff)[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
