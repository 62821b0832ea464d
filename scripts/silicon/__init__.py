# SPDX-License-Identifier: Apache-2.0
"""Area and clock of the machine: what scripts/synth.py is made of.

jobs      elaborates the machine and cuts it into blocks that are synthesised one by one
recipe    a block through Yosys and abc, to a netlist of library cells
liberty   the cell library: area, pins, delay tables
netlist   a mapped netlist with its loads and buffer trees
timing    longest paths of a netlist
report    tables, picture and budgets from the results
"""
