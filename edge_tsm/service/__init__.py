"""What an unattended run needs beside the pipeline."""
