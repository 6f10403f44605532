"""Where the control plane's table of owners comes from: the topology, at a revision and then on."""
