"""The gateway: sessions, jobs, and the order of the stages, behind edges that know transports."""
