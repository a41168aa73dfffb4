"""What a run would take, before it runs: operations, memory, time, links between machines."""
