"""Random acts at the desk and on a phone, with the real programs: `desk_interleave` runs them."""
