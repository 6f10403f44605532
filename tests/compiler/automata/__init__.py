"""Automata of regexes, held against RE2."""
