# SPDX-License-Identifier: Apache-2.0
"""The systems that SOFA is compared with, each a Method to its own publication's rule.

name        publication                                  rule
a3          A3, HPCA 2020                                greedy search in sorted columns of K
spatten     SpAtten, HPCA 2021                           cascade pruning of tokens and heads
elsa        ELSA, ISCA 2021                              hashes of signs, learnt threshold
ibert       I-BERT, ICML 2021                            dense, integer softmax
sanger      Sanger, MICRO 2021                           4-bit scores, least probability
isscc22     ISSCC 2022 29.2, JSSC 58(1) 2023             speculation outward from the diagonal
dota        DOTA, ASPLOS 2022                            learnt low-rank detector, equal k
energon     Energon, TCAD 2022                           two low-bit rounds, row statistics
flash       FlashAttention-2, 2023                       dense, exact, tiled
dtatrans    DTATrans, TCAD 2023                          8, 4 or 0 bits a token
fact        FACT, ISCA 2023                              predicted from X in the log domain
twilight    Twilight, NeurIPS 2025                       fewest keys that reach a mass p
xattention  XAttention, 2025                             blocks scored by antidiagonals
pade        PADE, HPCA 2026                              K by bit-planes, bounds drop keys

What a docstring calls an assumption is not stated in the publication, or was not checked in it.
"""

from ..methods.method import Method
from .a3 import A3
from .dota import Dota
from .dtatrans import DTATrans
from .elsa import Elsa
from .energon import Energon
from .fact import Fact
from .flash import FlashAttention2
from .ibert import IBert
from .isscc22 import Isscc22
from .pade import Pade
from .sanger import Sanger
from .spatten import SpAtten
from .twilight import Twilight
from .xattention import XAttention

PEERS: dict[str, type[Method]] = {
    A3.name: A3,
    SpAtten.name: SpAtten,
    Elsa.name: Elsa,
    IBert.name: IBert,
    Sanger.name: Sanger,
    Isscc22.name: Isscc22,
    Dota.name: Dota,
    Energon.name: Energon,
    FlashAttention2.name: FlashAttention2,
    DTATrans.name: DTATrans,
    Fact.name: Fact,
    Twilight.name: Twilight,
    XAttention.name: XAttention,
    Pade.name: Pade,
}
"""Name on the command line -> class, by year."""
