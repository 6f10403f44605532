"""Tests of the owners stream."""
