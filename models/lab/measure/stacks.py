# SPDX-License-Identifier: Apache-2.0
"""Which attention of a model calls: its stack, the number of its layer and how many there are.

    run, layer, layers = Places().find(module)     # within the forward of a model

A model of transformers hands only the attention's own module to an attention function. Where that
belongs is read from the modules whose forward is running (the frames of this thread): its model is
the innermost PreTrainedModel of these that holds it, or, without one, the outermost module. The
parts of the model whose paths differ from the module's by indices alone are one *stack*: the layers
of an encoder, the self-attentions of a decoder, its cross-attentions. Parts of one class without an
index in their paths are one, too.

- Where every part of a stack has an integer layer_idx of its own, that is the number.
- Else parts are numbered in order of call within a forward, each as often as the model holds it.
  One that stands at several places, or that serves several layers by the config of ALBERT, has
  a number each time.
- Else the number is None, not known: a module that is called more often in a forward than the
  model holds it, several parts without an index, one part without an index outside of a
  PreTrainedModel (a layer by itself), a module outside of a model.

A *run* is one pass through a stack. It begins with a forward of the model, counted by a pre-hook
that is set on the model at its first call (by model(...), not by model.forward(...)), and with a
number that is not above the one before. The model is not changed otherwise, and not kept alive.
Threads have forwards and runs of their own.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from threading import local
from weakref import WeakKeyDictionary, WeakSet

import torch

INDEX = re.compile(r"(?<![^.])\d+(?![^.])")
"""A component of a path that is a number."""

_hooked: WeakSet = WeakSet()
"""Models with the pre-hook."""


class Forwards(local):
    """begun, of this thread: model -> how often its forward has begun since the hook is there."""

    def __init__(self) -> None:
        self.begun: WeakKeyDictionary = WeakKeyDictionary()


_forwards = Forwards()


@torch.compiler.disable(reason="forwards are counted outside of graphs")
def count_forward(model, _inputs) -> None:
    """The pre-hook. A function of this module and not a closure: models stay fit for pickle."""
    _forwards.begun[model] = _forwards.begun.get(model, 0) + 1


@dataclass
class Run:
    """One pass through a stack. layer: the one before, -1 at first; used: places in the order of
    calls that were taken; sessions: state of a Method, by sequence; forward: that of the model."""

    layer: int = -1
    used: set = field(default_factory=set)
    sessions: dict = field(default_factory=dict)
    forward: int | None = None

    def begin(self) -> None:
        """Forget the pass before."""
        self.layer = -1
        self.used.clear()
        self.sessions.clear()

    def enter(self, layer: int | None) -> None:
        """Go on to a layer. A number not above the one before begins a new pass; without a number
        no state is taken over from the call before."""
        if layer is None:
            self.sessions.clear()
            return
        if layer <= self.layer:
            self.sessions.clear()
        self.layer = layer


class Places(local):
    """The runs of all models that share a Method, for each thread. loose: that of calls from
    outside a model."""

    def __init__(self) -> None:
        self.loose = Run()
        self._runs: WeakKeyDictionary = WeakKeyDictionary()

    def find(self, module) -> tuple[Run, int | None, int | None]:
        """(run, layer, layers) of an attention that is being called; layer and layers None where
        not known."""
        model, whole = running_model(module)
        own = own_number(module)
        if model is None:
            held = getattr(getattr(module, "config", None), "num_hidden_layers", 0)
            return self.loose, own, None if own is None else max(held, own + 1)
        stack, parts, depth = stack_of(model, module)
        if model not in _hooked:
            _hooked.add(model)
            model.register_forward_pre_hook(count_forward)
        run = self._runs.setdefault(model, {}).setdefault(stack, Run())
        forward = _forwards.begun.get(model, 0)
        if run.forward != forward:
            run.begin()
            run.forward = forward
        numbers = [own_number(part) for part in parts]
        if None not in numbers and len(set(numbers)) == len(parts):
            return run, own, max(len(parts), depth, max(numbers) + 1)
        order = calls_of(parts, getattr(module, "config", None))
        free = [i for i, part in enumerate(order) if part is module and i not in run.used]
        if not free or "*" not in stack and (len(parts) > 1 or not whole):
            return run, None, None
        run.used.add(free[0])
        return run, len(run.used) - 1, len(order)


def running_model(module) -> tuple:
    """(model, is it a PreTrainedModel) whose forward calls this module, (None, False) outside."""
    from transformers import PreTrainedModel

    outermost, frame = None, sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_varnames[:1] == ("self",):
            holder = frame.f_locals.get("self")
            if (isinstance(holder, torch.nn.Module) and holder is not module
                    and any(part is module for part in holder.modules())):
                if isinstance(holder, PreTrainedModel):
                    return holder, True
                outermost = holder
        frame = frame.f_back
    return outermost, False


def own_number(module) -> int | None:
    """layer_idx where it is a number."""
    number = getattr(module, "layer_idx", None)
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def pattern(path: str) -> str:
    """A path with * for its indices: components that are numbers, and digits before these.
    `stage2.blocks.7.attn1` gives `stage*.blocks.*.attn1`."""
    last = max((m.end() for m in INDEX.finditer(path)), default=0)
    return re.sub(r"\d+", "*", path[:last]) + path[last:]


def stack_of(model, module) -> tuple[str, list, int]:
    """(pattern of its path, the parts of the model with this pattern in order, a part as often as
    it is held; the length of the longest list on its path) of a module. Without an index in the
    path: (name of its class, all such parts of this class, 1)."""
    held = list(model.named_modules(remove_duplicate=False))
    path = next(name for name, part in held if part is module)
    stack = pattern(path)
    if "*" not in stack:
        return type(module).__name__, [part for name, part in held if type(part) is type(module)
                                       and not INDEX.search(name)], 1
    form = re.compile(re.escape(stack).replace(r"\*", r"\d+"))
    lists = [path[: m.start()].rstrip(".") for m in INDEX.finditer(path)]
    depth = max(len(list(model.get_submodule(name).children())) for name in lists)
    return stack, [part for name, part in held if form.fullmatch(name)], depth


def calls_of(parts: list, config) -> list:
    """The parts of a stack in the order in which a forward calls them. ALBERT's config has
    num_hidden_layers layers, which num_hidden_groups groups of inner_group_num parts serve in
    equal runs."""
    groups = getattr(config, "num_hidden_groups", None)
    inner = getattr(config, "inner_group_num", None)
    if not groups or not inner or len(parts) != groups * inner:
        return parts
    layers = config.num_hidden_layers
    firsts = [int(i / (layers / groups)) * inner for i in range(layers)]
    return [part for first in firsts for part in parts[first : first + inner]]
