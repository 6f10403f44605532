"""The agent beside an Envoy: passes its ADS stream on, and saves what Envoy acknowledges."""
