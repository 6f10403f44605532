"""Answers Envoy's question for ambiguous requests: the evaluator over live claims."""
