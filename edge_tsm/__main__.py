"""`python -m edge_tsm`."""

from edge_tsm.cli import main

main(prog_name="edge-tsm")
