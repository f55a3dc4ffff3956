"""The embedded stack: Kafka, a schema registry, ClickHouse's engine and the workers on one laptop.

Kafka is the real Apache Kafka. The registry and the ClickHouse server are stand-ins for one laptop: they speak
the same protocols as the real ones, for one user, on loopback, without users and roles.
"""
