"""The terminal client beside its plain form: a long answer, a start, scrolling, rest and memory."""
