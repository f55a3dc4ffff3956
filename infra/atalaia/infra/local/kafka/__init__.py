"""Apache Kafka on one laptop: the broker's jars, its configuration, its command line."""
