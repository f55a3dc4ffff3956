"""Kafka to ClickHouse: each event once in effect, and the proof of it."""
