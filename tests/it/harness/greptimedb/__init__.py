"""A double of GreptimeDB's HTTP SQL API: a process of its own that can be killed, paused and started again.

    lexer, parser, parser_table, expressions   SQL to statements
    catalog, execute                           databases, tables and rows, and what statements do to them
    answers                                    codes, statuses, bodies
    auth, engine, listener                     a request from its first byte to its answer
    faults, events                             what goes wrong on purpose, and what happened
    handle                                     what tests hold: GreptimeDB, and RealGreptimeDB for one elsewhere
"""
from .handle import GreptimeDB, RealGreptimeDB

__all__ = ["GreptimeDB", "RealGreptimeDB"]
