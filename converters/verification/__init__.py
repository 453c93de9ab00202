"""Every artifact against the torch reference."""
