"""The bodies of requests and answers, a file for each resource.

Classes called …Body are read, the others are answered with. Their docstrings are shown at /docs.
Tests hold the answers against them.
"""
