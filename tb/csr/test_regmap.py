# SPDX-License-Identifier: Apache-2.0
"""The files written by scripts/regmap.py are those of the table, and the table is consistent."""

import dataclasses
import shutil
import subprocess

import pytest

from models.spec import registers as regs
from scripts import regmap


def test_committed_files_are_up_to_date():
    assert regmap.main(["--check"]) == 0


def test_check_sees_a_difference(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(regmap, "ROOT", tmp_path)
    for name in regmap.OUTPUTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    assert regmap.main([]) == 0 and regmap.main(["--check"]) == 0
    path = tmp_path / "rtl/include/sofa_regs.vh"
    path.write_text(path.read_text().replace("12'h044", "12'h048", 1))
    assert regmap.main(["--check"]) == 1
    assert "sofa_regs.vh differs" in capsys.readouterr().out


def test_contradictions_are_refused():
    good = regs.REGISTERS
    for change in ({"offset": good[1].offset}, {"name": good[1].name}, {"offset": 0x401},
                   {"fields": (regs.Field("A", 0, 3, ""), regs.Field("B", 2, 1, ""))}):
        with pytest.raises(ValueError):
            regs.check_table([dataclasses.replace(good[0], **change), *good[1:]])


def test_error_codes_have_sentences():
    assert len(regs.ERRORS) == len(regs.Err) > 20
    for code, error in regs.ERRORS.items():
        assert regs.Err[error.name] == error.code == code
        assert error.text.endswith(".") and error.name in regs.error_text(code)
    assert "unknown" in regs.error_text(255)


def test_fields():
    """word() and part() are inverse; what does not fit is refused by name and range."""
    value = regs.word("WINDOW", WINDOW=77, SINKS=3)
    assert value == 77 | 3 << 24 == regs.part(value, "WINDOW", "WINDOW") | 3 << regs.lsb(
        "WINDOW", "SINKS")
    with pytest.raises(ValueError, match=r"MODE\.SNAP = 4, legal: 0\.\.3"):
        regs.word("MODE", SNAP=4)


def test_buffers_of_attention_share_registers_of_predict_jobs():
    assert set(regs.SHARED) == {"HT", "VM"} and len(regs.JOB) == regs.JOB_WORDS
    for name, owner in regs.SHARED.items():
        for field, *_ in regs.BUFFER_REGISTERS:
            assert regs.OFFSETS[f"{name}_{field}"] == regs.OFFSETS[f"{owner}_{field}"]
            assert f"{owner}_{field}" in regs.JOB and f"{name}_{field}" not in regs.JOB


def test_c_header(tmp_path):
    """A C compiler finds every register and field where the table has it."""
    lines = [f"_Static_assert(SOFA_REG_{r.name} == {r.offset}, \"{r.name}\");"
              for r in regs.REGISTERS]
    lines += [f"_Static_assert(SOFA_{r.name}_{f.name}_MASK >> SOFA_{r.name}_{f.name}_LSB == "
              f"{(1 << f.width) - 1}u, \"{f.name}\");" for r in regs.REGISTERS for f in r.fields]
    source = tmp_path / "check.c"
    source.write_text("\n".join([
        '#include "sofa_regs.h"',
        f"_Static_assert(SOFA_JOB_WORDS == {regs.JOB_WORDS}, \"size\");", *lines, ""]))
    done = subprocess.run([shutil.which("cc") or "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror",
                           "-pedantic", "-fsyntax-only", f"-I{regmap.ROOT / 'sw'}", str(source)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_systemrdl():
    """A compiler of SystemRDL reads the map: every register and field where the table has it."""
    from systemrdl import RDLCompiler
    from systemrdl.node import FieldNode, RegNode

    compiler = RDLCompiler()
    compiler.compile_file(str(regmap.ROOT / "rtl/csr/sofa_csr.rdl"))
    top = compiler.elaborate().top
    found = {n.inst_name: n for n in top.descendants() if isinstance(n, RegNode)}
    want = [r for r in regs.REGISTERS if not r.shared]
    assert list(found) == [r.name for r in sorted(want, key=lambda r: r.offset)]
    for register in want:
        node = found[register.name]
        assert node.absolute_address == register.offset
        fields = {f.inst_name: (f.lsb, f.width) for f in node.fields()}
        assert fields == (regs.FIELDS.get(register.name)
                          or {"VALUE": (0, register.width)}), register.name
        for f in node.fields():
            assert isinstance(f, FieldNode)
            assert f.is_sw_writable == (register.access != "RO")
            assert f.is_sw_readable == (register.access != "W1P")
            if register.reset is not None:
                assert f.get_property("reset") == (
                    register.reset >> f.lsb & ((1 << f.width) - 1))
