# SPDX-License-Identifier: Apache-2.0
"""The files written by scripts/regmap.py are those of its table, and the table is consistent."""

import dataclasses

import pytest

from models import regs
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
    good = regmap.make_registers()
    for change in ({"offset": good[1].offset}, {"name": good[1].name}, {"offset": 0x401},
                   {"fields": (regmap.Field("A", 0, 3, ""), regmap.Field("B", 2, 1, ""))}):
        with pytest.raises(ValueError):
            regmap.check_table([dataclasses.replace(good[0], **change), *good[1:]])


def test_error_codes_have_sentences():
    assert len(regs.ERRORS) == len(regmap.ERRORS) > 20
    for code, (name, sentence, _) in regs.ERRORS.items():
        assert getattr(regs, f"ERR_{name}") == code
        assert sentence.endswith(".") and name in regs.error_text(code)
    assert "unknown" in regs.error_text(255)


def test_buffers_of_attention_share_registers_of_predict_jobs():
    assert set(regs.SHARED) == {"HT", "VM"} and len(regs.JOB) == regmap.JOB_WORDS
    for name, owner in regs.SHARED.items():
        for field, *_ in regmap.BUFFER_REGISTERS:
            assert regs.OFFSETS[f"{name}_{field}"] == regs.OFFSETS[f"{owner}_{field}"]
            assert f"{owner}_{field}" in regs.JOB and f"{name}_{field}" not in regs.JOB
