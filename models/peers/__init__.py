# SPDX-License-Identifier: Apache-2.0
"""The systems that SOFA is compared with, each a Method to its own publication's rule.

name      publication                                          rule
a3        A3, HPCA 2020                                        greedy search in sorted columns of K
elsa      ELSA, ISCA 2021                                      hashes of signs, learnt threshold
spatten   SpAtten, HPCA 2021                                   cascade pruning of tokens and heads
ibert     I-BERT, ICML 2021                                    dense, integer softmax
sanger    Sanger, MICRO 2021                                   4-bit scores, least probability
dota      DOTA, ASPLOS 2022                                    learnt low-rank detector, equal k
energon   Energon, TCAD 2022                                   two low-bit rounds, row statistics
isscc22   ISSCC 2022 29.2, JSSC 58(1) 2023                     speculation outward from the diagonal
flash     FlashAttention-2, 2023                               dense, exact, tiled
dtatrans  DTATrans, TCAD 2023                                  8, 4 or 0 bits a token
fact      FACT, ISCA 2023                                      predicted from X in the log domain

What a docstring calls an assumption is not stated in the publication, or was not checked in it.
"""

from models.lab.method import Method
from models.peers.a3 import A3
from models.peers.dota import Dota
from models.peers.dtatrans import DTATrans
from models.peers.elsa import Elsa
from models.peers.energon import Energon
from models.peers.fact import Fact
from models.peers.flash import FlashAttention2
from models.peers.ibert import IBert
from models.peers.isscc22 import Isscc22
from models.peers.sanger import Sanger
from models.peers.spatten import SpAtten

PEERS: dict[str, type[Method]] = {
    A3.name: A3,
    Elsa.name: Elsa,
    SpAtten.name: SpAtten,
    IBert.name: IBert,
    Sanger.name: Sanger,
    Dota.name: Dota,
    Energon.name: Energon,
    Isscc22.name: Isscc22,
    FlashAttention2.name: FlashAttention2,
    DTATrans.name: DTATrans,
    Fact.name: Fact,
}
"""Name on the command line -> class, by year."""
