"""Injects faults into real processes and audits the results. The command is `bench/faults`."""
