"""From frames to an answer, in one thread: sampling, preprocessing, engine, postprocessing."""
