# SPDX-License-Identifier: Apache-2.0
"""What the results show.

tables      results of a grid as curves and tables; published: the paper's figures
figures     drawn curves; page, report: the page that has all of it
record      results that are committed, and the tables that documents quote from them
lengths     the threshold from length alone, fitted
"""
