# SPDX-License-Identifier: Apache-2.0
"""Area, clock and power of the machine: what scripts/synth.py is made of, and those below.

jobs      elaborates the machine and cuts it into blocks that are synthesised one by one
recipe    a block through Yosys and abc, to a netlist of library cells
liberty   the cell library: area, pins, delay tables
netlist   a mapped netlist with its loads and buffer trees
timing    longest paths of a netlist
report    tables, picture and budgets from the results

verilog   netlists and cell models for simulation
gates     a module as its netlist, for test benches: scripts/gates.py

activity  what ports do while the RTL runs a job
toggle    toggles of every net of a netlist under that, with delays (toggle.c)
energy    energy of toggles, clocks, memories: scripts/power.py
power_report  tables from that
"""
