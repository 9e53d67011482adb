"""`genimage-stream demo`: from pictures that it draws itself to shards, a stream and a small detector."""
