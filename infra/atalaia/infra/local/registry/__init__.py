"""A schema registry for one laptop: the Confluent REST API over SQLite, for Avro.

A stand-in: no clusters, no users, no schema references, no contexts. In production use Karapace or another
registry that speaks the same API; clients cannot tell the difference.
"""
