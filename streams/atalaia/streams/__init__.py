"""The Faust worker: micro-batches in, windows, rollups and alerts out."""
