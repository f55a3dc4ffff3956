"""Rules of single series: judged where the events come in, inline."""
