"""The oracle: what riders were shown against where the cars truly are, and what that says about the system."""
