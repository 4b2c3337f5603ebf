"""Real faults against real processes, and the auditor that says what became of it. The command is `bench/faults`."""
