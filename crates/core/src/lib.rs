//! The replicated dictionary: its data, its wire format, and the two ends of its sync as state machines without I/O.
