"""Recordings of other tools -> one parquet form: see `importing.import_trace`."""
