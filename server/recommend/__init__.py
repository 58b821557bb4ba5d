"""What `llmserve recommend` reads and writes around a study: recordings, sentences, the report."""
