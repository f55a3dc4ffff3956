"""ClickHouse's HTTP interface over chDB, the same engine as a library, for one laptop.

A stand-in: one process, one user, no replication, no access control. Clients cannot tell the difference; in
production the same workers point at a ClickHouse server. `python -m atalaia.infra.local.clickhouse` runs it, as does
`server.serve`; it isn't re-exported here because importing the engine maps half a gigabyte and starts it.

Read from the outside in: `server` (process), `app` (routes, one request), `guard` (who may ask), `request` (what was
asked), `tokens` and `statements` (what the SQL is), `rewriting` (what the engine is told), `engine`, `sessions`.
"""
