# SPDX-License-Identifier: Apache-2.0
"""Elaborates the machine at a configuration and cuts it into the blocks of one list.

The whole machine is elaborated once, so that every block has exactly the parameters that it has
inside, and what is cut out of a block is a stub with exactly its ports. A block is a text in
Yosys's own format, RTLIL: itself and all below it that is not cut out. Two equal texts are the
same block, which is what results are kept by.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TOP = "sofa"
RAM = "sofa_ram_1r1w"

CUTS = (
    "sofa",
    "sofa_csr",
    "sofa_seq", "sofa_seq_check", "sofa_seq_walk",
    "sofa_fetch", "sofa_axi_read",
    "sofa_dlzs", "sofa_dlzs_array", "sofa_dlzs_cell", "sofa_dlzs_codes", "sofa_dlzs_khat",
    "sofa_dlzs_first",
    "sofa_rope",
    "sofa_sads", "sofa_sads_sum", "sofa_sads_sum_row", "sofa_sads_sum_limit",
    "sofa_sads_sort", "sofa_sads_sort_row",
    "sofa_rass",
    "sofa_kvgen", "sofa_kvgen_front", "sofa_kvgen_land", "sofa_kvgen_make", "sofa_kvgen_load",
    "sofa_kvgen_array", "sofa_kvgen_mac", "sofa_kvgen_drain",
    "sofa_sufa", "sofa_sufa_kv", "sofa_sufa_merge", "sofa_sufa_unit", "sofa_sufa_keys",
    "sofa_sufa_issue", "sofa_sufa_dot", "sofa_sufa_exp", "sofa_sufa_sv", "sofa_sufa_lane",
    "sofa_sufa_flush", "sofa_sufa_div",
    "sofa_store",
)
"""Modules that are synthesised alone and cut out of what is above them; all others belong to the
one above. Stages, what a stage has many of, and what is large enough to have a line of its own."""

INSTEAD = {"sofa_mult_rows": "sofa_mult_tree", "sofa_add_rows": "sofa_add_tree"}
"""What stands in the place of a module in a chip: a module with the same ports."""

MODULE = re.compile(r"^((?:attribute [^\n]*\n)*)module (\S+)\n(.*?)^end\n", re.M | re.S)
CELL = re.compile(r"^  cell (\S+) (\S+)$", re.M)
NUMBERED = re.compile(r"\$(\d+)(?=[\s\[\\$_]|$)")
PORT_LINE = re.compile(r"^(?:  attribute \\src [^\n]*\n)?"
                       r"  wire [^\n]*\b(?:input|output) \d+ [^\n]*\n", re.M)


class JobError(ValueError):
    """The machine cannot be cut as the list says."""


@dataclass
class Module:
    """An elaborated module: text before, inside and what it instantiates (elaborated names)."""

    name: str
    head: str
    body: str
    children: list[str]

    @property
    def source(self) -> str:
        """Name in the source."""
        return self.name.split("\\")[-1] if "\\sofa" not in self.name else \
            "sofa" + self.name.split("\\sofa", 1)[1].split("\\")[0]

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters that the instance set, as written."""
        return dict(re.findall(r"^  parameter \\(\w+) (\S+)$", self.body, re.M))


@dataclass
class Job:
    """A block to synthesise. ``leaves``: names of the blocks cut out of it; ``memories``: name ->
    (words, bits); ``instances`` of the whole machine; ``parameters`` as elaborated."""

    name: str
    module: str
    text: str
    leaves: list[str]
    memories: dict[str, tuple[int, int]]
    instances: int
    parameters: dict[str, str]


def script(files: list[str], include: str, parameters: dict[str, int], out: str,
           top: str = TOP) -> list[str]:
    """The Yosys commands that elaborate the machine, or a part of it, and write it to ``out``."""
    values = " ".join(f"-chparam {k} {v}" for k, v in parameters.items())
    return [*(f"read_verilog -defer -I {include} {f}" for f in files),
            f"hierarchy -check -top {top} {values}", f"write_rtlil {out}"]


def parse(text: str) -> dict[str, Module]:
    """The modules of an elaborated design by name."""
    modules = {}
    for head, name, body in MODULE.findall(text):
        children = [kind for kind, _ in CELL.findall(body) if kind.startswith(("\\", "$paramod"))]
        modules[name] = Module(name, head, body, children)
    return modules


def number(text: str) -> int:
    """A parameter's value: decimal or width'bits."""
    return int(text.split("'")[1].lstrip("s"), 2) if "'" in text else int(text)


def names_of(modules: dict[str, Module]) -> dict[str, str]:
    """Elaborated name -> name of the block: sofa_ is left off, and where a module exists with
    several sets of parameters, those that differ stand behind it. Memories: ram_wordsxbits."""
    families: dict[str, list[Module]] = {}
    for module in modules.values():
        families.setdefault(module.source, []).append(module)
    names = {}
    for source, family in families.items():
        sets = [m.parameters for m in family]
        differing = [k for k in sets[0] if len({s.get(k) for s in sets}) > 1]
        for module, values in zip(family, sets, strict=True):
            if source == RAM:
                names[module.name] = f"ram_{number(values['DEPTH'])}x{number(values['WIDTH'])}"
            else:
                short = source.removeprefix("sofa_")
                more = "".join(f"_{k}{number(values[k])}" for k in differing)
                names[module.name] = short + more
    return names


def stub(module: Module, name: str) -> str:
    """A module of ports only, which Yosys leaves alone."""
    ports = "".join(PORT_LINE.findall(module.body))
    return f"attribute \\blackbox 1\nmodule \\{name}\n{ports}end\n"


def cut(modules: dict[str, Module], cuts: tuple[str, ...] = CUTS, top: str = TOP) -> list[Job]:
    """The jobs of an elaborated machine, what is cut out before what it is cut out of. Of another
    ``top``, which is a block whether the list has it or not: the jobs of that."""
    names = names_of(modules)
    missing = set(cuts) - {m.source for m in modules.values()}
    optional = {c for c in missing if "sort" in c}
    if top == TOP and missing - optional:
        raise JobError(f"not in the machine: {', '.join(sorted(missing - optional))}")
    counts: dict[str, int] = {}

    def count(name: str, times: int) -> None:
        counts[name] = counts.get(name, 0) + times
        for child in modules[name].children:
            count(child, times)

    count(f"\\{top}", 1)
    jobs: dict[str, Job] = {}

    def build(name: str) -> None:
        module = modules[name]
        inside, leaves, memories = [], {}, {}

        def gather(at: str) -> None:
            if at in inside:
                return
            inside.append(at)
            for child in modules[at].children:
                source = modules[child].source
                if source == RAM:
                    memories[child] = modules[child]
                elif source in cuts:
                    leaves[child] = modules[child]
                else:
                    gather(child)

        gather(name)
        for leaf in leaves:
            if names[leaf] not in jobs:
                build(leaf)
        text = "".join(f"{modules[m].head}module {m}\n{modules[m].body}end\n" for m in inside)
        text = CELL.sub(lambda c: f"  cell {renamed(c[1])} {c[2]}", text)
        text = re.sub(r"^module (\S+)$", lambda c: f"module {renamed(c[1])}", text, flags=re.M)
        stubs = {f"\\{names[c]}": stub(m, names[c]) for c, m in {**leaves, **memories}.items()}
        seen: dict[str, str] = {}
        text = NUMBERED.sub(lambda c: seen.setdefault(c[1], f"${len(seen) + 1}"), text)
        jobs[names[name]] = Job(
            names[name], module.source, "autoidx 1000000\n" + "".join(stubs.values()) + text,
            sorted(names[c] for c in leaves),
            {names[c]: (number(m.parameters["DEPTH"]), number(m.parameters["WIDTH"]))
             for c, m in memories.items()},
            counts[name], {k: str(number(v)) for k, v in module.parameters.items()
                           if re.fullmatch(r"-?\d+|\d+'s?[01]+", v)})

    def renamed(kind: str) -> str:
        return f"\\{names[kind]}" if kind in names else kind

    build(f"\\{top}")
    return list(jobs.values())
