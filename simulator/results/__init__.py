"""What a run measured: time series while it goes, a live view of them, and at its end a report and its JSON twin."""
