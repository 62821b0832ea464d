# SPDX-License-Identifier: Apache-2.0
"""scripts/fpga.py: the harness and what is read from a report; nothing is mapped here."""

from scripts import fpga

RTLIL = """module \\sofa_machine
  attribute \\src "x.v:1"
  wire input 1 \\clk
  wire width 3 input 2 \\s_data
  wire width 2 output 3 \\m_data
  wire output 4 \\irq
  wire width 5 \\inner
end
"""


def test_every_port_but_the_clock_lies_in_the_harness():
    ports = fpga.ports_of(RTLIL)
    assert ports == [("clk", "input", 1), ("s_data", "input", 3), ("m_data", "output", 2),
                     ("irq", "output", 1)]
    text = fpga.harness(ports)
    assert "reg [2:0] in_reg;" in text and "reg [2:0] out_reg;" in text
    assert ".s_data(in_reg[0 +: 3])" in text
    assert ".m_data(outs[0 +: 2]),\n        .irq(outs[2 +: 1])" in text
    assert text.count(".clk(clk)") == 1 and "in_reg <= {in_reg[1:0], in};" in text


def test_figures_of_a_report():
    report = {"fmax": {"$glbnet$clk": {"achieved": 61.26, "constraint": 50.0}},
              "utilization": {kind: {"used": n, "available": 100} for n, kind in enumerate(
                  ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D", "TRELLIS_IO"))}}
    assert fpga.figures(report) == {"MHz": 61.3, "used": {
        "LUT": [0, 100], "flip-flops": [1, 100], "block RAM, 18 Kbit": [2, 100],
        "DSP, 18 x 18": [3, 100]}}
