"""Which endpoints the edges hold healthy, as they report it. Knows cluster names, and no cells."""
