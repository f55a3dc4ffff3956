"""Contracts that the stages share: Avro schemas, topics, the metric catalogue."""
