"""Searches for small changes of a text that turn a right answer, and the accuracy that is left under them.

No torch. Whoever answers is a `Victim`: a package, or a server somewhere.
"""
