"""Engines under test: real crashes inside a real retry engine, judged by what that engine declared.

An adapter, a program of its own, drives the engine and speaks the lines of docs/engine-protocol.md. The suite owns the
payload that crashes and the ledger that it writes, and holds what the engine says against what was written down.
"""
