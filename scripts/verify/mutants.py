# SPDX-License-Identifier: Apache-2.0
"""Mutants of a Verilog module: the module with one small fault each.

    found = find("sofa_rass")           every place where an operator of KINDS applies
    chosen = choose(found, 12, seed=1)  some of them, of every kind, by lot
    combined(path.read_text(), chosen)  one module with all of them: +mutant=N switches number N on
    single(path.read_text(), mutant)    the module with one of them

What runs (expressions and assignments) is mutated in one text for all: ``a + b`` with number 7
becomes ``((mutant_of_all == 7) ? (a - b) : (a + b))``, so that one build serves every mutant of
the module. There a mutant has the width and the signedness of what it replaces, so that the rest
of the expression reads as before. What has not, and what is settled when the design is elaborated,
has a text and a build of its own.

Not mutated: values of nets without use (unused*), checks of parameters (their tests refuse wrong
parameters at elaboration), assertions under FORMAL, initial blocks, heads of loops, functions that
compute constants, macros.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import pyslang
from pyslang.syntax import SyntaxKind as Kind
from pyslang.syntax import SyntaxNode, SyntaxTree

from tb.runner import INCLUDE_DIR, find_module

SELECTOR = "mutant_of_all"
"""The register of a combined module that holds the number of the mutant; 0: none."""

KINDS = {
    "constant": "a number in an expression is one more or one less",
    "name": "a named constant in an expression is one off",
    "comparison": "< for <=, == for != and the like",
    "arithmetic": "+ for -, << for >>, a factor added",
    "logic": "&& for ||, & for |, a negation dropped",
    "condition": "the condition of an if inverted",
    "ternary": "the two values of ?: swapped",
    "reset": "a register without its reset",
    "stall": "a term of a handshake condition (valid && ready) always true",
    "arc": "an arc of a state machine removed, or led to another state",
    "update": "an assignment in a clocked or combinational block dropped",
    "signed": "a signed value extended with zeros",
    "width": "the highest bit of an assigned value lost",
    "select": "a part of a vector taken one bit off",
    "parameter": "a derived constant one more",
}

SWAPS = {
    Kind.LessThanExpression: ("comparison", "<="),
    Kind.LessThanEqualExpression: ("comparison", "<"),
    Kind.GreaterThanExpression: ("comparison", ">="),
    Kind.GreaterThanEqualExpression: ("comparison", ">"),
    Kind.EqualityExpression: ("comparison", "!="), Kind.InequalityExpression: ("comparison", "=="),
    Kind.AddExpression: ("arithmetic", "-"), Kind.SubtractExpression: ("arithmetic", "+"),
    Kind.MultiplyExpression: ("arithmetic", "+"),
    Kind.LogicalShiftLeftExpression: ("arithmetic", ">>"),
    Kind.LogicalShiftRightExpression: ("arithmetic", "<<"),
    Kind.ArithmeticShiftRightExpression: ("signed", ">>"),
    Kind.LogicalAndExpression: ("logic", "||"), Kind.LogicalOrExpression: ("logic", "&&"),
    Kind.BinaryAndExpression: ("logic", "|"), Kind.BinaryOrExpression: ("logic", "&"),
    Kind.BinaryXorExpression: ("logic", "|"),
}
REDUCTIONS = {Kind.UnaryBitwiseAndExpression: "|", Kind.UnaryBitwiseOrExpression: "&"}
NEGATIONS = (Kind.UnaryLogicalNotExpression, Kind.UnaryBitwiseNotExpression,
             Kind.UnaryMinusExpression)
# Names of what makes a transfer wait.
HANDSHAKE = re.compile(r"(^|_)(valid|ready|full|empty|free|room|stall|busy|wait|space|owed|credit"
                       r"|avail|idle|hold|push|pop|take|go)($|_|\d)")
# What is settled at elaboration; the text in front of a bracket is looked at below.
CONSTANT = {Kind.ParameterDeclaration, Kind.VariableDimension, Kind.ParameterValueAssignment,
            Kind.GenvarDeclaration, Kind.TimingControlStatement}
SKIPPED = {Kind.InitialBlock, Kind.ModuleHeader, Kind.EventControlWithExpression,
           Kind.ImplicitEventControl, Kind.EventControl}
# A concatenation whose highest bit is 0
ZERO = re.compile(r"\{\s*(\{[^{}]*\{1'b0\}\}|\d+'[bd]0+)\s*,")
CLOCKED = re.compile(r"always\s*@\s*\(\s*posedge")


class MutantError(ValueError):
    """A module that cannot be read."""


@dataclass(frozen=True)
class Mutant:
    """One fault: ``new`` for what stands at ``start`` to ``end`` (characters of the file).

    ``statement``: a statement, else an expression; ``alone``: it needs a build of its own.
    ``line``: number of the line, from 1.
    ``context``: that line without blanks at its ends; ``nth``: how many mutants with the same
    kind, context and texts stand before it. With them a mutant is known again in a module that
    was changed elsewhere.
    """

    module: str
    kind: str
    start: int
    end: int
    old: str
    new: str
    statement: bool
    alone: bool
    line: int
    context: str
    nth: int

    @property
    def name(self) -> str:
        """A short name that stays while the line it stands in does."""
        return hashlib.sha256(repr((self.module, self.kind, self.context, self.old, self.new,
                                    self.nth)).encode()).hexdigest()[:10]

    def __str__(self):
        old, new = (" ".join(t.split()) for t in (self.old, self.new))
        return f"{self.module}.v:{self.line}: {self.kind}: {old} -> {new or 'nothing'}"


def _nodes(parts) -> list[SyntaxNode]:
    """The nodes among the parts of a list or of a node; the others are words."""
    return [part for part in parts if isinstance(part, SyntaxNode)]


class _Finder:
    """Walks the syntax tree of one file and collects what can be mutated."""

    def __init__(self, module: str, path: Path):
        self.module, self.text = module, path.read_text()
        manager = pyslang.SourceManager()
        manager.addUserDirectories(str(INCLUDE_DIR))
        tree = SyntaxTree.fromFile(str(path), manager)
        errors = [d for d in tree.diagnostics if d.isError()]
        if errors:
            raise MutantError(f"{path}: not read: {errors[0].code}")
        self.manager = manager
        root = tree.root
        members = [root] if root.kind == Kind.ModuleDeclaration else root.members
        self.top = next((m for m in members if m.kind == Kind.ModuleDeclaration), None)
        if self.top is None:
            raise MutantError(f"{path}: no module")
        self.tree = tree
        self.found: list[tuple] = []
        self.constants: set[str] = set()
        self.signed: set[str] = set()
        self.tops: dict[str, str] = {}
        self.states: dict[str, set[str]] = {}
        self.constant_functions: set[str] = set()
        self._names(self.top)
        self._states(self.top)

    # ---- Names -----------------------------------------------------------------------------
    def _names(self, node):
        """Collect parameters, signed vectors, highest bits, functions used for constants."""
        if node.kind == Kind.ParameterDeclaration:
            self.constants |= {d.name.rawText for d in _nodes(node.declarators)}
        elif node.kind in (Kind.DataDeclaration, Kind.NetDeclaration):
            self._vector(node.type, [d.name.rawText for d in _nodes(node.declarators)])
        elif node.kind == Kind.ImplicitAnsiPort and hasattr(node.header, "dataType"):
            self._vector(node.header.dataType, [node.declarator.name.rawText])
        if node.kind in CONSTANT:
            self.constant_functions |= set(re.findall(r"(\w+)\s*\(", str(node)))
        for child in _nodes(node):
            self._names(child)

    def _vector(self, kind, names):
        text = str(kind)
        span = re.search(r"\[([^][]*(?:\[[^]]*\])?[^][]*):\s*0\s*\]", text)
        for name in names:
            if re.search(r"\bsigned\b", text):
                self.signed.add(name)
            if span and "`" not in span[1]:
                # The same name in two functions may have two widths.
                known = self.tops.setdefault(name, span[1].strip())
                if known != span[1].strip():
                    self.tops[name] = ""

    def _states(self, node):
        """Collect the states that each state register is given."""
        if node.kind in (Kind.AssignmentExpression, Kind.NonblockingAssignmentExpression):
            machine = self._machine(node)
            if machine:
                self.states.setdefault(machine, set()).update(
                    n for n in re.findall(r"\w+", self._of(node.right)) if n in self.constants)
        for child in _nodes(node):
            self._states(child)

    def _machine(self, node) -> str:
        """Name, without _reg or _next, of the state register that an assignment sets."""
        found = re.fullmatch(r"(\w*state)_(?:reg|next)", self._of(node.left))
        return found[1] if found else ""

    # ---- Text ------------------------------------------------------------------------------
    def _span(self, node):
        """Start and end in the file; None where one of them comes from a macro."""
        span = node.sourceRange
        if self.manager.isMacroLoc(span.start) or self.manager.isMacroLoc(span.end):
            return None
        return span.start.offset, span.end.offset

    def _of(self, node) -> str:
        span = self._span(node)
        return self.text[span[0]:span[1]] if span else ""

    def _add(self, kind, node, new, statement=False, alone=False):
        span = self._span(node)
        old = self.text[span[0]:span[1]] if span else ""
        # A macro or a comment among the words would be cut.
        if span and old != new and "//" not in old:
            self.found.append((kind, *span, old, new, statement, alone))

    # ---- Walk ------------------------------------------------------------------------------
    def module_items(self):
        """Collect the mutants of the module."""
        for member in self.top.members:
            self._item(member)
        return self.found

    def _item(self, node):
        if node.kind in SKIPPED:
            return
        if node.kind == Kind.ParameterDeclarationStatement:
            self._parameter(node.parameter)
        elif node.kind == Kind.FunctionDeclaration:
            if node.prototype.name.getLastToken().rawText not in self.constant_functions \
                    and "integer" not in self._of(node.prototype.returnType):
                for item in node.items:
                    self._statement(item, False, False)
        elif node.kind == Kind.AlwaysBlock:
            self._statement(node.statement, bool(CLOCKED.match(self._of(node))), False)
        elif node.kind == Kind.ContinuousAssign:
            for assignment in _nodes(node.assignments):
                self._assignment(assignment)
        elif node.kind in (Kind.DataDeclaration, Kind.NetDeclaration):
            for declarator in _nodes(node.declarators):
                if declarator.initializer:
                    self._value(declarator.name.rawText, declarator.initializer.expr)
        elif node.kind == Kind.HierarchyInstantiation:
            for instance in _nodes(node.instances):
                for port in _nodes(instance.connections):
                    if getattr(port, "expr", None):
                        self._port(port.expr)
        elif node.kind == Kind.IfGenerate:
            if "g_illegal" not in self._of(node):
                self._generate(node)
        elif node.kind in (Kind.GenerateRegion, Kind.GenerateBlock, Kind.LoopGenerate,
                           Kind.CaseGenerate, Kind.ElseClause):
            self._generate(node)

    def _generate(self, node):
        """Blocks of a generate construct; its conditions and bounds are no items."""
        for child in _nodes(node):
            self._item(child)

    def _parameter(self, node):
        for declarator in _nodes(node.declarators):
            if declarator.initializer:
                value = declarator.initializer.expr
                text = self._of(value)
                # Codes of states and fields are mutated where they are used.
                if not re.fullmatch(r"\d+'[bdh]\w+|\{.*\}", text, re.S):
                    self._add("parameter", value, f"({text}) + 1", alone=True)

    def _statement(self, node, clocked, reset):
        """``clocked``: in a block with an edge; ``reset``: under if (rst)."""
        kind = node.kind
        if kind == Kind.TimingControlStatement:
            self._statement(node.statement, clocked, reset)
        elif kind == Kind.SequentialBlockStatement:
            for item in node.items:
                self._statement(item, clocked, reset)
        elif kind == Kind.ConditionalStatement:
            test = self._of(node.predicate)
            is_reset = bool(re.fullmatch(r"rst(_\w+)?", test))
            if not is_reset:
                self._add("condition", node.predicate, f"!({test})")
                self._expression(node.predicate, negated=False)
            self._statement(node.statement, clocked, reset or (is_reset and clocked))
            if node.elseClause:
                self._statement(node.elseClause.clause, clocked, reset)
        elif kind == Kind.CaseStatement:
            self._expression(node.expr)
            for item in node.items:
                if isinstance(item.clause, SyntaxNode):
                    self._statement(item.clause, clocked, reset)
        elif kind in (Kind.ForLoopStatement, Kind.LoopStatement):
            self._statement(node.statement, clocked, reset)
        elif kind == Kind.ExpressionStatement:
            assignment = node.expr
            if assignment.kind in (Kind.AssignmentExpression, Kind.NonblockingAssignmentExpression):
                self._procedural(node, assignment, reset)

    def _procedural(self, node, assignment, reset):
        if reset:
            self._add("reset", node, ";", True)
            return
        machine = self._machine(assignment)
        value = self._of(assignment.right)
        if machine and value in self.constants:
            self._add("arc", node, ";", True)
            for other in sorted(self.states[machine] - {value})[:3]:
                self._add("arc", assignment.right, other)
        else:
            if not re.fullmatch(r"\w+_reg", value) and re.search(r"_(reg|next)\b",
                                                                self._of(assignment.left)):
                self._add("update", node, ";", True)
            self._assignment(assignment)

    def _assignment(self, node):
        self._value(self._of(node.left), node.right)

    def _value(self, target, value):
        if target.startswith("unused"):
            return
        top = self.tops.get(target)
        text = self._of(value)
        if top and not re.fullmatch(r"\w+_reg|\d+'\w+|\{[^,]*\}", text) and not ZERO.match(text):
            # As wide as the target, and signed, which changes neither width nor sign of the value.
            self._add("width", value, f"({text}) & $signed({{1'b0, {{({top}){{1'b1}}}}}})")
        self._expression(value)

    def _port(self, node):
        """What a port is connected to: perhaps an output, so no part of it changes its kind."""
        while node.kind in (Kind.SimplePropertyExpr, Kind.SimpleSequenceExpr):
            node = node.expr
        if node.kind not in (Kind.IdentifierName, Kind.IdentifierSelectName,
                             Kind.ConcatenationExpression):
            self._expression(node)

    # ---- Expressions -----------------------------------------------------------------------
    def _expression(self, node, negated=True, self_determined=False):
        """``negated``: a negation dropped is not the same as a condition inverted."""
        kind = node.kind
        if kind in SWAPS:
            self._binary(node)
        elif kind == Kind.ConditionalExpression:
            test, left, right = (self._of(n) for n in (node.predicate, node.left, node.right))
            self._add("ternary", node, f"({test}) ? ({right}) : ({left})")
            self._expression(node.predicate, negated=False)
            self._expression(node.left, self_determined=self_determined)
            self._expression(node.right, self_determined=self_determined)
            return
        elif kind in NEGATIONS:
            if negated:
                self._add("logic" if kind != Kind.UnaryMinusExpression else "arithmetic", node,
                          f"({self._of(node.operand)})" if kind != Kind.UnaryLogicalNotExpression
                          else f"1'b1 && ({self._of(node.operand)})")
        elif kind in REDUCTIONS:
            self._add("logic", node, f"{REDUCTIONS[kind]}({self._of(node.operand)})")
        elif kind == Kind.IntegerVectorExpression:
            self._literal(node)
            return
        elif kind == Kind.IntegerLiteralExpression:
            text = self._of(node)
            if text.isdecimal():
                self._add("constant", node, str(int(text) + 1))
            return
        elif kind == Kind.IdentifierName:
            name = self._of(node)
            if name in self.constants:
                # One more; one less where the whole is signed.
                self._add("name", node, f"({name} + 1'sb1)")
            elif name in self.signed and not self_determined:
                self._add("signed", node, f"$signed({{1'b0, {name}}})", alone=True)
            return
        elif kind == Kind.IdentifierSelectName:
            self._select(node)
            return
        elif kind == Kind.InvocationExpression:
            self._call(node, self_determined)
            return
        elif kind == Kind.ScopedName:
            # What is in a generate block has a constant index.
            return
        elif kind == Kind.MultipleConcatenationExpression:
            self._expression(node.concatenation, self_determined=True)
            return
        for child in _nodes(node):
            self._expression(child, self_determined=self_determined
                             or kind == Kind.ConcatenationExpression)

    def _binary(self, node):
        kind, operator = SWAPS[node.kind]
        left, right = self._of(node.left), self._of(node.right)
        self._add(kind, node, f"{left} {operator} {right}")
        if node.kind == Kind.LogicalAndExpression:
            for side, text in ((node.left, left), (node.right, right)):
                if re.fullmatch(r"!?\w+(\[\w+\])?", text) and HANDSHAKE.search(
                        re.sub(r"[!\[].*", "", text.lstrip("!"))):
                    self._add("stall", side, "1'b1")

    def _literal(self, node):
        found = re.fullmatch(r"(\d+)'(s?)([bdh])([0-9a-fA-F]+)", self._of(node))
        if not found:
            return
        size, sign, base, digits = found.groups()
        value = int(digits, {"b": 2, "d": 10, "h": 16}[base])
        # One more where the last digit is even, else one less: never out of the range.
        self._add("constant", node, f"{size}'{sign}d{value + 1 if value % 2 == 0 else value - 1}")

    def _select(self, node):
        """name[...]: the index may be mutated; a part with constant bounds moves by one bit."""
        name = node.identifier.rawText
        for selector in node.selectors:
            part = getattr(selector, "selector", None)
            if part is None:
                continue
            if part.kind == Kind.BitSelect:
                self._expression(part.expr, self_determined=True)
            elif part.kind == Kind.AscendingRangeSelect:
                self._expression(part.left, self_determined=True)
            elif (part.kind == Kind.SimpleRangeSelect and self._span(part)
                  and len(list(node.selectors)) == 1 and self.tops.get(name)):
                high, low = self._of(part.left), self._of(part.right)
                if high != self.tops[name] and not re.search(r"[^\w\s+*()-]", high + low):
                    # The base by a variable, so that it can be switched.
                    self._add("select", node,
                              f"{name}[({low}) + 1 +: ({high}) - ({low}) + 1]")

    def _call(self, node, self_determined):
        function = self._of(node.left)
        arguments = _nodes(node.arguments.parameters if node.arguments else [])
        if function == "$signed" and not self_determined and len(arguments) == 1:
            inner = self._of(arguments[0])
            self._add("signed", node, f"$signed({{1'b0, {inner}}})", alone=True)
        if function in self.constant_functions or function == "$clog2":
            return
        for argument in arguments:
            self._expression(argument, self_determined=True)


def find(module: str, path: Path | None = None) -> list[Mutant]:
    """All mutants of ``module``, in the order of the file; ``path``: its file, default that of
    rtl/. Raises MutantError where the file has no module that can be read."""
    path = path or find_module(module)
    finder = _Finder(module, path)
    lines = finder.text.splitlines()
    found, seen = [], {}
    for kind, start, end, old, new, statement, alone in sorted(
            finder.module_items(), key=lambda m: (m[1], -m[2], m[4])):
        line = finder.text.count("\n", 0, start) + 1
        key = (kind, lines[line - 1].strip(), old, new)
        nth = seen[key] = seen.get(key, -1) + 1
        found.append(Mutant(module=module, kind=kind, start=start, end=end, old=old, new=new,
                            statement=statement, alone=alone, line=line, context=key[1], nth=nth))
    return found


def choose(found: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """``count`` of them, or all: the kinds in turn, each in an order by lot that stays as it is
    when the module changes elsewhere. Of those alone at most one of a kind."""
    def lot(mutant):
        return hashlib.sha256(f"{seed} {mutant.name}".encode()).digest()

    queues = {kind: sorted((m for m in found if m.kind == kind), key=lot) for kind in KINDS}
    for queue in queues.values():
        for mutant in [m for m in queue if m.alone][1:]:
            queue.remove(mutant)
    chosen: list[Mutant] = []
    while len(chosen) < count and any(queues.values()):
        for queue in queues.values():
            if queue and len(chosen) < count:
                chosen.append(queue.pop(0))
    return sorted(chosen, key=lambda m: (m.start, -m.end, m.name))


def single(text: str, mutant: Mutant) -> str:
    """The module with this fault."""
    return text[:mutant.start] + mutant.new + text[mutant.end:]


def combined(text: str, chosen: list[Mutant], first: int = 1) -> str:
    """The module in which +mutant=N switches on number N, from ``first`` on, of ``chosen``, none of
    which needs a build of its own; another number, or no argument: none."""
    numbered = [(m, n) for n, m in enumerate(chosen, first)]

    def render(start, end, inside):
        """text[start:end] with the mutants ``inside`` it, outermost first."""
        out, at = "", start
        while inside:
            mutant, number = inside[0]
            within = [x for x in inside[1:] if x[0].start < mutant.end]
            inside = [x for x in inside[1:] if x[0].start >= mutant.end]
            old = render(mutant.start, mutant.end, within)
            out += text[at:mutant.start]
            if mutant.statement:
                out += (f"begin if ({SELECTOR} == {number}) begin {mutant.new} end "
                        f"else begin {old} end end")
            else:
                out += f"(({SELECTOR} == {number}) ? ({mutant.new}) : ({old}))"
            at = mutant.end
        return out + text[at:end]

    body = render(0, len(text), sorted(numbered, key=lambda x: (x[0].start, -x[0].end, x[1])))
    head = (f"\n    reg [31:0] {SELECTOR} = 0;\n"
            f"    initial if ($value$plusargs(\"mutant=%d\", {SELECTOR})) begin end\n")
    place = body.index("\n);") + 3 if "\n);" in body else body.index(");") + 2
    return body[:place] + head + body[place:]
