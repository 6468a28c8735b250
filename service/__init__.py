"""Answers by packages: over HTTP, in a terminal, to files and to Python programs, which import `steadfast`."""
