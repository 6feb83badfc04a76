"""`make bench`: ratios of ridestream to plain peers, both sides in one sitting on the same cores."""
