"""Answers Envoy's questions about ambiguous requests: the evaluator over the newest claims."""
