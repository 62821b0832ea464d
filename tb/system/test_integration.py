# SPDX-License-Identifier: Apache-2.0
"""docs/integration.md: its register accesses make a job whose output is the model's; its pictures
of the handshakes are those of that job; its bytes are those that the host driver writes."""

from __future__ import annotations

import re

import pytest

from models.config import Config
from models.driver.images import table_image
from models.spec import registers as regs
from models.spec.configs import CONFIGS
from scripts import handshakes, memories
from tb.runner import ROOT, run
from tb.system import page_job

CFG = Config.from_parameters(dict(CONFIGS["tiny"]))


@pytest.mark.slow_on("verilator")
def test_job_of_the_page(sim):
    folder = run("sofa", page_job.__name__, CONFIGS["tiny"], sim, seed=1, waves=False)
    # Verilator hides the nets inside.
    if sim == "icarus":
        for path, text in handshakes.pictures(folder).items():
            assert path.read_text() == text, f"{path.name} is stale: run scripts/handshakes.py"


def test_every_picture_is_in_the_page():
    shown = re.findall(r"\(timing/(\w+)\.svg\)", page_job.PAGE.read_text())
    drawn = sorted(p.stem for p in handshakes.FOLDER.iterdir())
    assert sorted(shown) == drawn == sorted(page_job.FIGURES)


def test_accesses_are_those_of_the_driver():
    """Values and offsets of the page, from START on in the order that a host needs."""
    done = page_job.accesses()
    fields = page_job.fields(CFG)
    written = {name: value for kind, name, value in done if kind == "write"}
    assert {n: written[n] for n in fields} == fields
    assert set(written) - set(fields) == {"IRQ_ENABLE", "CTRL", "IRQ_STATUS"}
    assert written["CTRL"] == 1 << regs.lsb("CTRL", "START")
    names = [name for _, name, _ in done]
    assert names[names.index("CTRL"):] == ["CTRL", "irq", "STATUS", "IRQ_STATUS", "JOBS"]
    lines = re.findall(r"^(?:write|read)\s+(\w+)\s+0x\w{8}\s+(\w{3})\b", page_job.PAGE.read_text(),
                       re.M)
    assert len(lines) == len(done) - 1
    assert all(int(offset, 16) == regs.OFFSETS[name] for name, offset in lines)


def test_entry_of_the_table_of_heads():
    _, job = page_job.example(CFG)
    entry = table_image(job, CFG).tobytes().hex(" ").upper()
    for path in (page_job.PAGE, ROOT / "docs" / "memory.svg"):
        assert entry in path.read_text(), path.name


def test_addresses_of_the_picture():
    text = (ROOT / "docs" / "memory.svg").read_text()
    drawn = [int(a.replace(" ", ""), 16) for a in re.findall(r">(\w{4} \w{4})</text>", text)]
    assert drawn == list(page_job.BASES.values())


def test_memories_of_the_page():
    """The table is that of the Verilog as it is elaborated."""
    text = page_job.PAGE.read_text()
    counts = memories.shapes(memories.elaborated(CONFIGS[memories.DOCUMENTED]))
    assert memories.replaced(text, memories.table(counts)) == text, "run scripts/memories.py --save"


def test_shapes_of_a_tree():
    """Instances below instances count as often as these; shapes are put together."""
    def memory(address, words, bits):
        values = [("DEPTH", words), ("WIDTH", bits)]
        return {"addr": address, "origName": memories.MEMORY, "stmtsp": [
            {"name": n, "valuep": [{"name": f"32'h{v:x}"}]} for n, v in values]}

    def module(address, name, *below):
        return {"addr": address, "origName": name, "stmtsp": [
            {"type": "GENBLOCK", "itemsp": [{"type": "CELL", "modp": b} for b in below]}]}

    tree = {"modulesp": [module("(T)", "sofa", "(A)", "(A)", "(M)"),
                         module("(A)", "sofa_a", "(M)", "(N)"),
                         memory("(M)", 20, 8), memory("(N)", 4, 1024)]}
    counts = memories.shapes(tree)
    assert counts == {(20, 8, "sofa_a"): 2, (4, 1024, "sofa_a"): 2, (20, 8, "sofa"): 1}
    assert memories.table(counts).splitlines()[2:] == [
        "| 4 x 1024 | 2 | 1 | `sofa_a` |", "| 20 x 8 | 3 | 0.0586 | 1 `sofa`, 2 `sofa_a` |",
        "| together | 5 | 1 | 2 shapes |"]


def test_picture_without_its_event_is_refused():
    trace = {"a_valid": [0, 0, 1, 1], "a_kind": [0, 0, 0, 2]}
    assert handshakes.chosen(trace, (("a_valid&a_kind=2", 0),)) == [2, 3]
    with pytest.raises(ValueError, match="a_kind=3 never holds"):
        handshakes.chosen(trace, (("a_kind=3", 1),))
