"""What every process needs: settings, logs, self-metrics, clients; `local/` is the embedded stack."""
