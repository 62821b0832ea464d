# SPDX-License-Identifier: Apache-2.0
"""Parameters, their legal ranges and derived widths."""

import pytest

from models.config import Config, ConfigError, check, clog2
from models.first.config import Config as First

TINY = dict(ROWS=4, COLS=4, D_MAX=16, BC_MAX=16, BUS_BYTES=8, KEYS_MAX=256)


def test_supported_sets():
    widths = {}
    for name in ("tiny", "small", "paper"):
        cfg = Config.from_name(name)
        assert cfg.name == name
        widths[name] = (cfg.SLOT_W, cfg.SC_W - cfg.SC_FRAC, cfg.S_W, cfg.L_W, cfg.QE, cfg.KE,
                        cfg.CODE_W)
        assert (cfg.GUARD, cfg.S_DROP) == (Config(**TINY).GUARD, 8)
        assert cfg.O_W == 16 + cfg.GUARD + clog2(cfg.KEYS_MAX) + cfg.O_FRAC
        assert cfg.Z_W == 16 + cfg.Z_FRAC
    # By hand from the table of docs/architecture.md section 2.
    assert widths["tiny"] == (4, 12, 36, 24, 4, 8, 6)
    assert widths["small"] == (5, 14, 38, 28, 8, 16, 6)
    assert widths["paper"] == (6, 15, 39, 28, 32, 64, 6)


def test_defaults_of_missing_parameters():
    cfg = First.from_parameters(TINY, "mine")
    assert (cfg.ADDR_W, cfg.TWO_TERM, cfg.EXP_ROWS, cfg.DIV_ROWS, cfg.KV_BUFS) == (40, 0, 4, 4, 2)
    assert cfg.replace(TWO_TERM=1).CODE_W == 6
    assert cfg.replace(SC_FRAC=8).RADIUS_INF == 2**20 - 1
    # What a set does not give follows what is changed in it; a replaced field moves no other.
    assert First.from_name("tiny", ROWS=16, TWO_TERM=1).EXP_ROWS == 16
    assert First.from_name("tiny").replace(ROWS=16).EXP_ROWS == 4


@pytest.mark.parametrize("field, value, legal", [
    ("ROWS", 2, "4..128"), ("ROWS", 256, "4..128"), ("ROWS", 12, "power of two"),
    ("COLS", 2, "4..16"), ("COLS", 32, "4..16"), ("D_MAX", 8, "16..256"),
    ("D_MAX", 512, "16..256"), ("BC_MAX", 4, "8..64"), ("BC_MAX", 128, "8..64"),
    ("BUS_BYTES", 4, "8..64"), ("BUS_BYTES", 128, "8..64"), ("KEYS_MAX", 32, "64..65536"),
    ("KEYS_MAX", 131072, "64..65536"), ("ADDR_W", 31, "32..48"), ("ADDR_W", 49, "32..48"),
    ("SC_FRAC", 9, "0..8"), ("TWO_TERM", 2, "0..1"), ("EXP_ROWS", 8, "2..4"),
    ("DIV_ROWS", 3, "power of two"), ("KV_BUFS", 1, "2..4"), ("K8_BUFS", 5, "2..4"),
    ("KV_BUFS", 5, "2..4"),
    ("ROWS", 4.0, "integer|power"), ("ROWS", True, "power"), ("SC_FRAC", "3", "0..8"),
])
def test_illegal_parameter(field, value, legal):
    with pytest.raises(ConfigError, match=rf"{field} = .*legal: .*({legal})"):
        First(**{**TINY, field: value})


def test_bus_raises_other_minima():
    with pytest.raises(ConfigError, match="D_MAX = 16, legal: power of two 64..256"):
        Config(ROWS=32, COLS=4, D_MAX=16, BC_MAX=64, BUS_BYTES=64, KEYS_MAX=64)
    with pytest.raises(ConfigError, match="BC_MAX = 32, legal: power of two 64..64"):
        Config(ROWS=32, COLS=4, D_MAX=64, BC_MAX=32, BUS_BYTES=64, KEYS_MAX=64)


def test_unknown_names():
    with pytest.raises(ConfigError, match="no configuration 'huge'; know .*tiny"):
        Config.from_name("huge")
    with pytest.raises(ConfigError, match="no parameter 'ROWZ'"):
        Config.from_parameters({**TINY, "ROWZ": 1})


def test_run_time_values():
    cfg = Config(**TINY)
    assert [cfg.check_d(d) for d in (8, 16)] == [8, 16]
    for d in (0, 4, 12, 24):
        with pytest.raises(ConfigError, match="d = "):
            cfg.check_d(d)
    assert cfg.check_bc(8) == 8
    for bc in (2, 6, 32):
        with pytest.raises(ConfigError, match="bc = "):
            cfg.check_bc(bc)
    with pytest.raises(ConfigError, match="TWO_TERM"):
        cfg.check_snap(2)
    assert cfg.replace(TWO_TERM=1).check_snap(2) == 2


def test_beats():
    cfg = Config(**TINY)
    assert [cfg.beats16(d) for d in (4, 8, 16)] == [1, 2, 4]
    assert [cfg.beats8(d) for d in (8, 9, 16)] == [1, 2, 2]


def test_check():
    assert check("x", 5, 1, 5) == 5
    assert [clog2(n) for n in (1, 2, 3, 4, 5, 64)] == [0, 1, 2, 2, 3, 6]
