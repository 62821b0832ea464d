# SPDX-License-Identifier: Apache-2.0
"""The systems that SOFA is compared with, each a Method to its own publication's rule.

name      publication                                          rule
spatten   SpAtten, HPCA 2021                                   cascade pruning of tokens and heads
ibert     I-BERT, ICML 2021                                    dense, integer softmax
isscc22   ISSCC 2022 29.2, JSSC 58(1) 2023                     speculation outward from the diagonal
flash     FlashAttention-2, 2023                               dense, exact, tiled
dtatrans  DTATrans, TCAD 2023                                  8, 4 or 0 bits a token
fact      FACT, ISCA 2023                                      predicted from X in the log domain

What a docstring calls an assumption is not stated in the publication, or was not checked in it.
"""

from models.lab.method import Method
from models.peers.dtatrans import DTATrans
from models.peers.fact import Fact
from models.peers.flash import FlashAttention2
from models.peers.ibert import IBert
from models.peers.isscc22 import Isscc22
from models.peers.spatten import SpAtten

PEERS: dict[str, type[Method]] = {
    SpAtten.name: SpAtten,
    IBert.name: IBert,
    Isscc22.name: Isscc22,
    FlashAttention2.name: FlashAttention2,
    DTATrans.name: DTATrans,
    Fact.name: Fact,
}
"""Name on the command line -> class, by year."""
