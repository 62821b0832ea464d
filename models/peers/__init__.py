# SPDX-License-Identifier: Apache-2.0
"""The systems that SOFA is compared with, each a Method to its own publication's rule.

name      publication                                          rule
a3        A3, HPCA 2020                                        greedy search in sorted columns of K
elsa      ELSA, ISCA 2021                                      hashes of signs, learnt threshold
sanger    Sanger, MICRO 2021                                   4-bit scores, least probability
dota      DOTA, ASPLOS 2022                                    learnt low-rank detector, equal k
energon   Energon, TCAD 2022                                   two low-bit rounds, row statistics

What a docstring calls an assumption is not stated in the publication, or was not checked in it.
"""

from models.lab.method import Method
from models.peers.a3 import A3
from models.peers.dota import Dota
from models.peers.elsa import Elsa
from models.peers.energon import Energon
from models.peers.sanger import Sanger

PEERS: dict[str, type[Method]] = {
    A3.name: A3,
    Elsa.name: Elsa,
    Sanger.name: Sanger,
    Dota.name: Dota,
    Energon.name: Energon,
}
"""Name on the command line -> class, by year."""
