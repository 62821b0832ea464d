# SPDX-License-Identifier: Apache-2.0
"""``make gates``: unit tests on the netlists that synthesis makes, in place of the RTL.

    .venv/bin/python scripts/gates.py [--jobs 2] [--config tiny] [-k EXPRESSION]

The test benches are those of the RTL, with the same values in the same cycles; Verilator, no
delays, memories as RTL. Any other test whose top level is a module of rtl/ and which sees its ports
alone runs so, too: pytest --gates. Last, one gate of a netlist is exchanged, and the test has to
fail.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from scripts.silicon import gates  # noqa: E402
from scripts.silicon.recipe import SynthError  # noqa: E402

TESTS = (
    # The longest first.
    "tb/seq/test_seq.py::test_sofa_seq",
    "tb/dlzs/test_dlzs_cell.py",
    "tb/dlzs/test_dlzs_array.py::test_sofa_dlzs_array[verilator-s1-8-16-1]",
    "tb/sads/test_sads_core.py::test_sads_core[verilator-s1-15-6]",
    "tb/sads/test_sads_sum.py::test_sads_sum",
    "tb/rass/test_rass.py::test_sofa_rass",
    "tb/kvgen/test_kvgen_requant.py::test_requant[verilator-s1-38]",
    "tb/kvgen/test_kvgen_array.py::test_array[verilator-s1-16-2]",
    "tb/rope/test_rope.py::test_rope[verilator-s1-1]",
    "tb/sufa/test_sufa_dot.py::test_sufa_dot[verilator-s1-8-48]",
    "tb/sufa/test_sufa_exp.py::test_sufa_exp[verilator-s1-4]",
    "tb/sufa/test_sufa_div.py::test_sufa_div[verilator-s1-28]",
    "tb/store/test_store.py::test_store",
)
FAULT = "scripts/tests/test_gates.py::test_a_planted_fault"


def main(arguments: list[str] | None = None) -> int:
    """Exit code of pytest, 2 without the cell library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="tiny", help="of models/spec/configs.py")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("-k", default="", help="only tests that pytest -k finds")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}, legal: 1 or more")
    try:
        gates.cells()
    except SynthError as error:
        print(f"gates.py: {error}", file=sys.stderr)
        return 2
    chosen = ["-k", options.k] if options.k else []
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", str(options.jobs), "--maxschedchunk", "1",
         "--sim", "verilator", "--config", options.config, "--gates", *chosen,
         *TESTS, FAULT], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
